"""analysis.py: errors by kind, length and speaker, word times and emission delays by hand, calibration, bad input."""

import sys

import numpy as np
import pytest
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from tests.recipes.shell import SHARED
from tests.recipes.test_robustness import written

sys.path.insert(0, str(SHARED))

import analysis
from analysis import emissions, groups, length_name, time_errors, word_calibration
from decoded import read_decoded

from hainan_k2.result import Hypothesis, Token
from hainan_k2.scoring.wer import score
from hainan_k2.text import Tokenizer


@pytest.fixture(scope="module")
def lang(toy_task):
    return toy_task / "lang"


def hypothesis(lang, text, frames, confidence=0.5):
    """Text with a token on each of the frames, one frame long."""
    tokenizer = Tokenizer(lang)
    ids = tokenizer.encode(text)
    assert len(ids) == len(frames)
    tokens = tuple(Token(i, frame, 1, confidence) for i, frame in zip(ids, frames))
    return Hypothesis(tokens, -1.0, 40).with_words(tokenizer.pieces)


@pytest.fixture
def decoded(lang, tmp_path):
    """Two speakers; ar-greedy is right, nar-greedy takes a word for another and adds one."""
    texts = {
        "ar-greedy": [("u", "fox golf", "fox golf"), ("v", "", "")],
        "nar-greedy": [("u", "fox golf", "fox hotel"), ("v", "", "fox")],
    }
    pieces = {text: len(Tokenizer(lang).encode(text)) for text in ("fox", "golf", "hotel")}
    long = [2 + i for i in range(pieces["fox"])]
    found = {
        method: {
            "u": hypothesis(lang, f"fox {word}", [*long, *(20 + i for i in range(pieces[word]))], confidence),
            "v": hypothesis(lang, after, long[: pieces["fox"] if after else 0]),
        }
        for method, word, after, confidence in (("ar-greedy", "golf", "", 0.95), ("nar-greedy", "hotel", "fox", 0.5))
    }
    folder = written(tmp_path / "decoded", texts, found, set_name="test")
    supervisions = [SupervisionSegment(name, name, 0, 4, text="", speaker=f"speaker-{name}") for name in "uv"]
    recording = Recording("r", [], 16000, 64000, 4.0, [0])
    cuts = [MonoCut(s.id, 0, 4, 0, supervisions=[s], recording=recording) for s in supervisions]
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    (tmp_path / "alignments.ctm").write_text("u 1 0.100 0.200 fox 0.9\nu 1 1.640 0.240 golf 0.9\n")
    return folder


def options_of(decoded, lang, *more):
    root = decoded.parent
    words = ["--results", decoded, "--cuts", root / "cuts.jsonl.gz", "--lang-dir", lang, "--out-dir", root / "out"]
    return list(map(str, [*words, *more]))


def test_tables_and_plots(decoded, lang, capsys):
    analysis.main(options_of(decoded, lang, "--alignments", decoded.parent / "alignments.ctm"))
    page = (decoded.parent / "out" / "analysis.md").read_text()
    assert page in capsys.readouterr().out
    assert "| ar-greedy | 0.00 (0.00 - 0.00) | 0.00 | 0.00 | 0.00 |  |  |  |" in page
    assert "| 50.00 | 0.00 | 50.00 | +100.00 |" in page
    lines = page.splitlines()
    assert [line for line in lines if line.startswith("| 1-2 | 1 | 2 |")] and "| speaker-v | 1 | 0 |" in page
    assert sum(line.startswith(("| 1-2", "| 3-5", "| 0 |")) for line in lines) == 2
    names = sorted(path.name for path in (decoded.parent / "out").glob("*.png"))
    assert names == ["calibration.png", "delay.png", "errors.png", "length.png", "speaker.png"]
    assert all((decoded.parent / "out" / name).stat().st_size > 5000 for name in names)


def test_delays_by_hand(decoded, lang):
    """fox begins at frame 2, 0.16 s, 60 ms late; its last token is on frame 1 + the number of its tokens."""
    ar, nar = read_decoded(decoded)
    references = analysis.read_ctm(decoded.parent / "alignments.ctm")
    pieces = Tokenizer(lang).pieces
    times, delays = time_errors(ar, references, pieces)
    sizes = [len(Tokenizer(lang).encode(word)) for word in ("fox", "golf")]
    expected = [0.08 * (2 + sizes[0]) - 0.3, 0.08 * (20 + sizes[1]) - 1.88]
    assert times.starts == pytest.approx([0.06, -0.04]) and delays.ends == pytest.approx(expected)
    assert len(time_errors(nar, references, pieces)[0].starts) == 1, "correct words alone"
    spans = emissions(ar.hypotheses["u"], pieces)
    assert [word for word, *_ in spans] == ["fox", "golf"] and spans[1][1] == pytest.approx(1.6)


def test_calibration(decoded, lang):
    ar, nar = read_decoded(decoded)
    found, left_out = word_calibration(ar, Tokenizer(lang).scoring)
    assert (found.words, left_out) == (2, 0) and found.error == pytest.approx(0.05)
    found, _ = word_calibration(nar, Tokenizer(lang).scoring)
    assert found.words == 3 and found.error == pytest.approx(abs(1 / 3 - 0.5))


def test_groups():
    scored = score([("a", "x", "x"), ("b", "x y", "x"), ("c", "", "z")])
    by_length = groups(scored, lambda u: length_name(len(u.reference)), ["0", "1-2", "3-5"])
    assert {name: len(s.utterances) for name, s in by_length.items()} == {"0": 1, "1-2": 2}
    assert sum(s.words.total for s in by_length.values()) == scored.words.total
    assert [length_name(n) for n in (0, 1, 2, 3, 5, 14, 15, 99)] == [
        *("0", "1-2", "1-2", "3-5", "3-5", "10-14", "15 and more", "15 and more")
    ]
    assert np.isfinite(by_length["1-2"].wer)


def test_what_does_not_belong_together(decoded, lang, capsys):
    written(decoded.parent / "two", {"ar-greedy": [("u", "a", "a")]}, set_name="test")
    written(decoded.parent / "two", {"ar-greedy": [("u", "a", "a")]}, set_name="other")
    written(decoded.parent / "unknown", {"ar-greedy": [("w", "a", "a")]})
    for options, message in (
        (options_of(decoded, lang)[:-2], "--out-dir are required"),
        (options_of(decoded.parent / "two", lang), "has results on several sets"),
        (options_of(decoded.parent / "unknown", lang), "has no w: 1 decoded utterances"),
        (options_of(decoded, decoded), "bpe.model"),
        (options_of(decoded, lang, "--alignments", decoded.parent / "cuts.jsonl.gz"), ""),
    ):
        with pytest.raises(SystemExit) as stopped:
            analysis.main(options)
        errors = capsys.readouterr().err
        assert stopped.value.code == 2 and message in errors and errors.count("\n") == 1
