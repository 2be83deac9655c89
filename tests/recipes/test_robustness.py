"""robustness.py: conditions, runaway decodings; and what decoded.py reads of a folder of decode.py."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recipes.shell import SHARED

sys.path.insert(0, str(SHARED))

import robustness
from decoded import read_decoded
from robustness import conditions, full_frames, in_order, is_runaway, tables

from hainan_k2.result import Hypothesis, Token
from hainan_k2.scoring.results import write_results
from hainan_k2.writers import json_lines

PIECES = ["<blk>", "▁a", "▁b", "c"]


def hypothesis(ids, frames):
    tokens = tuple(Token(i, frame, 0, 0.5) for i, frame in zip(ids, frames))
    return Hypothesis(tokens, -1.0, 40).with_words(PIECES)


def written(folder, texts, hypotheses=None, set_name="noisy"):
    """The files of decode.py: texts and hypotheses by method."""
    write_results(folder, set_name, texts)
    figures = {"encoder_seconds": [1.0], "search_seconds": [1.0]}
    summary = {"audio_seconds": 2.0, "methods": {method: figures for method in texts}}
    (folder / f"summary-{set_name}.json").write_text(json.dumps(summary))
    for method, of_method in (hypotheses or {}).items():
        lines = json_lines(of_method.items())
        (folder / f"{set_name}-{method}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.fixture
def folder(tmp_path):
    """Two utterances, clean and noisy; ar-greedy writes on and on for one."""
    long = hypothesis([1] * 12, [3] * 10 + [4, 5])
    good = hypothesis([1, 3], [0, 2])
    texts = {
        "ar-greedy": [
            ("u@clean", "ac", "ac"),
            ("u@babble-0", "ac", " ".join("a" * 12)),
            ("u@babble-20", "ac", "ac"),
            ("v@clean", "a b", "a"),
        ],
    }
    found = {"u@clean": good, "u@babble-0": long, "u@babble-20": good, "v@clean": hypothesis([1], [0])}
    return written(tmp_path, texts, {"ar-greedy": found})


def test_conditions(folder):
    (decoded,) = read_decoded(folder)
    assert (decoded.set, decoded.method, decoded.audio_seconds) == ("noisy", "ar-greedy", 2.0)
    found = conditions(decoded, 10)
    assert {name: (c.longer, c.full, c.score.words.insertions) for name, c in found.items()} == {
        "clean": (0, 0, 0),
        "babble-0": (1, 1, 11),
        "babble-20": (0, 0, 0),
    }
    assert found["clean"].score.wer == pytest.approx(1 / 3) and found["babble-0"].score.wer == 12
    assert conditions(decoded, 11)["babble-0"].full == 0


def test_tables(folder, capsys):
    robustness.main(["--results", str(folder)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ") and "condition" not in line][1:4] == [
        "| clean",
        "| babble-20",
        "| babble-0",
    ]
    assert "| clean | 2 | 33.33 (" in "\n".join(lines) and "| babble-0 | 11, 1, 1 |" in lines


def test_hypotheses_are_read_as_they_were_written(folder):
    (decoded,) = read_decoded(folder)
    long = decoded.hypotheses["u@babble-0"]
    assert long == hypothesis([1] * 12, [3] * 10 + [4, 5]) and long.words[0].text == "a"
    assert full_frames(long, 10) == 1 and full_frames(long, 1) == 3


@given(reference=st.integers(0, 20), hypothesis_words=st.integers(0, 80))
def test_runaways(reference, hypothesis_words):
    assert is_runaway(reference, hypothesis_words) == (
        hypothesis_words > 2 * reference and hypothesis_words - reference >= 3
    )
    assert not is_runaway(reference, 2 * reference) and not is_runaway(reference, reference + 2)


def test_the_order_of_conditions():
    names = ["speed-1.1", "music-0", "babble-5", "clean", "babble-10", "speed-0.8", "repeat-8", "repeat-2", "room-far"]
    expected = "clean babble-10 babble-5 music-0 repeat-2 repeat-8 room-far speed-0.8 speed-1.1".split()
    assert sorted(names, key=in_order) == expected


def test_what_cannot_be_read(folder, tmp_path, capsys):
    for options, message in (
        ([], "--results is required"),
        (["--results", str(tmp_path / "absent")], "no summary-SET.json"),
    ):
        with pytest.raises(SystemExit) as stopped:
            robustness.main(options)
        errors = capsys.readouterr().err
        assert stopped.value.code == 2 and message in errors and errors.count("\n") == 1
    (decoded,) = read_decoded(folder)
    path = folder / "noisy-ar-greedy.jsonl"
    path.write_text('{"id": "u@clean"}\n')
    with pytest.raises(ValueError, match="not written by decode.py --write jsonl"):
        tables([decoded], 10)
    path.unlink()
    (decoded,) = read_decoded(folder)
    with pytest.raises(ValueError, match="decode with --write jsonl"):
        tables([decoded], 10)
