"""The HTML page: its figures, that texts stay texts, and, where a browser is installed, what it shows."""

import base64
import hashlib
import html.parser
import io
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2 import decode
from hainan_k2.config import as_dict
from hainan_k2.recognizer import Recognizer, Result
from hainan_k2.result import Hypothesis, Token, Word
from hainan_k2.score import score
from hainan_k2.search import NOTHING, SearchConfig
from hainan_k2.text import Tokenizer
from hainan_k2.tools.bench_decode import random_model
from hainan_k2.tools.checkpoint import save_checkpoint
from hainan_k2.tools.evaluate import Decoded
from hainan_k2.tools.page import Detail, Page, page_data, render
from hainan_k2.tools.page.calibration import calibration, judged_words
from hainan_k2.tools.page.differences import columns
from hainan_k2.tools.page.make import SHOWN, evenly, write_transcription
from hainan_k2.tools.page.media import GREYS, grey_png, sound_uri, spectrogram
from hainan_k2.tools.page.wordgraph import shares, word_graph
from tests.toy import ROOT

JFK = ROOT / "tests" / "data" / "jfk.flac"
EVIL = "</script><script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">{{style}}<!--"
PIECES = ["<blk>", "<unk>", "▁the", "▁cat", "▁sat", "s", EVIL]


def spoken(text, confidence=0.9, score=-1.0, start=0.0, alternatives=()):
    """A hypothesis whose words last 0.4 s each."""
    words = tuple(Word(word, round(start + 0.4 * i, 2), round(start + 0.4 * i + 0.4, 2), confidence)
                  for i, word in enumerate(text.split()))
    tokens = tuple(Token(2 + i % 4, 5 * i, 5, confidence) for i in range(len(words)))
    return Hypothesis(tokens, score, 5 * len(words), words, text, alternatives)


def page_of(*utterances, labels=("ar-greedy", "nar-greedy"), details=None, **fields):
    """utterances: (id, reference, a text for every label)."""
    decoded = [Decoded(name, reference, 2.0, {label: spoken(text) for label, text in zip(labels, texts)}, {})
               for name, reference, *texts in utterances]
    return Page("a page", labels, decoded, PIECES, {d.id: Detail() for d in decoded} if details is None else details,
                **fields)


def data_in(document):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', document, re.S)[1])


class Parsed(html.parser.HTMLParser):
    def __init__(self, document):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(document)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attributes]


def test_calibration_by_hand():
    found = calibration([(0.95, True), (1.0, True), (0.92, False), (0.31, True), (0.39, False), (0.0, False)])
    low, middle, high = found.bins
    assert (low.count, low.confidence, low.accuracy) == (1, 0.0, 0.0)
    assert (middle.count, middle.confidence, middle.accuracy) == (2, pytest.approx(0.35), 0.5)
    assert (high.count, high.confidence, high.accuracy) == (3, pytest.approx(2.87 / 3), pytest.approx(2 / 3))
    # (1 * 0 + 2 * 0.15 + 3 * 0.29) / 6
    assert found.words == 6 and found.error == pytest.approx(0.195)
    assert calibration([]).error is None


def test_words_are_judged_by_their_alignment():
    hypothesis = Hypothesis((), 0.0, 9, (Word("a", 0, 1, 0.5), Word("Mr", 1, 2, 0.25), Word("sat", 2, 3, 0.75)))
    scored, = score([("u", "the mister sat down", "a mister sat")]).utterances
    assert judged_words(scored, hypothesis) == [(0.5, False), (0.25, True), (0.75, True)]
    split, = score([("u", "twenty one", "twenty one")]).utterances
    assert judged_words(split, Hypothesis((), 0.0, 9, (Word("2", 0, 1, 0.5), Word("1", 1, 2, 0.5)))) is None


def test_summary_by_hand():
    page = page_of(("a", "the cat sat", "the cat sat", "the hat sat"), ("b", "the cat", "cat", "the cat sat"),
                   seconds={"encoder": 1.0, "ar-greedy": 0.5, "nar-greedy": 0.25})
    data = page_data(page)
    assert (data["count"], data["audio"], data["encoder"]) == (2, 4.0, 1.0)
    ar, nar = data["methods"]
    assert (ar["wer"], ar["substitutions"], ar["deletions"], ar["insertions"], ar["words"]) == (0.2, 0, 1, 0, 5)
    assert (nar["wer"], nar["substitutions"], nar["deletions"], nar["insertions"]) == (0.4, 1, 0, 1)
    assert ar["confusions"]["deletions"] == {"kinds": 1, "most": [("the", None, 1)]}
    assert nar["confusions"]["substitutions"]["most"] == [("cat", "hat", 1)]
    assert nar["confusions"]["insertions"]["most"] == [(None, "sat", 1)]
    assert ar["calibration"]["error"] == pytest.approx(0.1) and ar["calibration"]["words"] == 4
    assert nar["calibration"]["error"] == pytest.approx(abs(4 / 6 - 0.9))
    assert (ar["search"], nar["search"]) == (0.5, 0.25)


def test_without_references_methods_are_compared_with_the_first():
    data = page_data(page_of(("a", "", "the cat", "the cats"), references=False))
    assert [m["wer"] for m in data["methods"]] == [0.0, 0.5]
    assert data["utterances"][0]["columns"] == [("the", ("the", "the")), ("cat", ("cat", "cats"))]


def test_what_failed_or_was_silent_is_told():
    page = page_of(("a", "the cat", "the cat", "the cat"), ("silent", "", "", "cat"))
    page.decoded[0].failures["nar-greedy"] = "RuntimeError: no memory"
    del page.decoded[0].hypotheses["nar-greedy"]
    data = page_data(page)
    assert data["methods"][1]["failed"] == 1 and data["methods"][1]["deletions"] == 2
    assert data["utterances"][0]["rows"][1]["failure"] == "RuntimeError: no memory"
    only = page_of(("silent", "", "", "cat"))
    assert data_in(render(only))["methods"][1]["wer"] is None  # one error in no words


def test_only_details_are_shown_one_by_one():
    page = page_of(("a", "cat", "cat", "cat"), ("b", "cat", "cat", "cat"), details={"b": Detail()})
    assert [u["id"] for u in page_data(page)["utterances"]] == ["b"]
    assert evenly(range(7)) == list(range(7)) and evenly([]) == []
    some = evenly(range(1000))
    assert len(some) == SHOWN and (some[0], some[-1]) == (0, 999)


def test_tokens_have_their_times():
    found = Hypothesis((Token(3, 2, 3, 0.5), Token(5, 4, 0, 1.0)), -1.0, 30)
    page = Page("p", ("ar-greedy",), [Decoded("a", "cats", 0.35, {"ar-greedy": found}, {})], PIECES, {"a": Detail()})
    tokens = page_data(page)["utterances"][0]["rows"][0]["tokens"]
    assert [(t["text"], t["frame"], t["duration"], t["confidence"]) for t in tokens] == [
        ("▁cat", 2, 3, 0.5), ("s", 4, 0, 1.0)]
    times = [t[end] for t in tokens for end in ("start", "end")]
    assert times == pytest.approx([0.16, 0.32, 0.32, 0.35])  # cut at the next token, at the end of the audio


texts = st.lists(st.sampled_from("abcd"), max_size=6).map(" ".join)


@settings(max_examples=40, deadline=None)
@given(texts, st.lists(texts, min_size=1, max_size=4))
def test_columns_hold_all_words_in_order(reference, recognised):
    found = columns([score([("u", reference, text)]).utterances[0] for text in recognised])
    assert [word for word, _ in found if word is not None] == reference.split()
    for i, text in enumerate(recognised):
        assert [said[i] for _, said in found if said[i] is not None] == text.split()
    assert all(word is not None or any(said) for word, said in found)  # none is empty


def test_columns_by_hand():
    found = columns(score([("1", "a b c", "a x b c"), ("2", "a b c", "a c"), ("3", "a b c", "a b c y z")]).utterances)
    assert found == [("a", ("a", "a", "a")), (None, ("x", None, None)), ("b", ("b", None, "b")),
                     ("c", ("c", "c", "c")), (None, (None, None, "y")), (None, (None, None, "z"))]


def test_word_graph_by_hand():
    paths = [spoken("so we ask", score=np.log(0.6)), spoken("so we asked", score=np.log(0.2)),
             spoken("so he ask", score=np.log(0.2))]
    graph = word_graph(paths)
    assert [(n.text, round(n.mass, 6)) for n in graph.nodes] == [
        ("so", 1.0), ("we", 0.8), ("ask", 0.8), ("asked", 0.2), ("he", 0.2)]
    assert {ends: round(mass, 6) for ends, mass in graph.edges.items()} == {
        (0, 1): 0.8, (1, 2): 0.6, (1, 3): 0.2, (0, 4): 0.2, (4, 2): 0.2}
    assert len(word_graph([spoken("so"), spoken("so", start=3.0)]).nodes) == 2  # the same word at another time
    assert shares([spoken("a", score=-1e4), spoken("b", score=float("-inf"))]) == [1.0, 0.0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(texts, st.floats(-50, 0)), min_size=1, max_size=5))
def test_word_graph_loses_no_mass(drawn):
    paths = [spoken(text, score=score) for text, score in drawn]
    graph = word_graph(paths)
    weights = shares(paths)
    assert sum(weights) == pytest.approx(1.0)
    assert sum(n.mass for n in graph.nodes) == pytest.approx(sum(w * len(p.words) for w, p in zip(weights, paths)))
    assert sum(graph.edges.values()) == pytest.approx(
        sum(w * max(0, len(p.words) - 1) for w, p in zip(weights, paths)))


def test_sound_survives():
    samples, _ = soundfile.read(JFK, dtype="float32", frames=32000)
    kind, _, content = sound_uri(samples).partition(";base64,")
    assert kind in ("data:audio/ogg", "data:audio/flac")
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="float32")
    assert rate % 16000 == 0 and len(heard) * 16000 == len(samples) * rate
    assert np.corrcoef(heard[:: rate // 16000], samples)[0, 1] > 0.9


def test_spectrogram_of_a_tone():
    import matplotlib.image

    time = np.arange(16000 * 25) / 16000
    tiles = list(spectrogram(np.sin(2 * np.pi * 1000 * time).astype(np.float32)))
    assert [seconds for _, seconds in tiles] == pytest.approx([20.0, 5.0])
    for uri, seconds in tiles:
        image = matplotlib.image.imread(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))
        assert image.shape == (80, round(seconds * 100))
        rows = 79 - image.mean(axis=1).argmin()  # bin 28 of 80 between 20 and 7600 Hz holds 1000 Hz
        assert abs(rows - 28) <= 1 and image.min() == 0.0 and len(np.unique(image)) <= GREYS
    silent = list(spectrogram(np.zeros(4000, dtype=np.float32)))
    assert len(silent) == 1


def test_png_holds_the_levels():
    import matplotlib.image

    levels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    image = matplotlib.image.imread(io.BytesIO(grey_png(levels)))
    np.testing.assert_array_equal(np.round(image * 255), levels)


def evil_page():
    found = Hypothesis((Token(6, 0, 2, 0.5),), -1.0, 9, (Word(EVIL, 0.0, 0.5, 0.5),), EVIL, note=EVIL)
    decoded = [Decoded(EVIL, EVIL, 1.0, {"ar-greedy": found}, {"nar-greedy": EVIL})]
    return Page(EVIL, ("ar-greedy", "nar-greedy"), decoded, PIECES, {EVIL: Detail(None, (found,))}, {}, ((EVIL, EVIL),))


def test_texts_are_never_markup():
    document = render(evil_page())
    parsed, plain = Parsed(document), Parsed(render(page_of(("a", "cat", "cat", "cat"))))
    assert parsed.tags == plain.tags and parsed.tags.count("script") == 2
    data = data_in(document)
    assert data["title"] == data["utterances"][0]["id"] == data["utterances"][0]["rows"][0]["note"] == EVIL


def test_nothing_is_loaded_and_only_our_script_runs():
    samples = np.zeros(4000, dtype=np.float32)
    document = render(page_of(("a", "cat", "cat", "cat"), details={"a": Detail(samples)}))
    loaded = [value for _, name, value in Parsed(document).attributes if name in ("src", "href", "srcset", "action")]
    assert loaded == ["data:,"]
    assert set(re.findall(r"https?://[^\"'` )]+", document)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"fetch\(|XMLHttpRequest|innerHTML|insertAdjacentHTML|document\.write|eval\(|@import|url\(",
                         document)
    script = re.search(r"<script>(.*?)</script>", document, re.S)[1]
    style = re.search(r"<style>(.*?)</style>", document, re.S)[1]
    policy, = (value for tag, name, value in Parsed(document).attributes if name == "content" and "src" in value)
    for kind, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")


BROWSERS = "chromium chromium-headless-shell chromium-browser google-chrome google-chrome-stable chrome".split()


@pytest.fixture
def browser(tmp_path):
    """Opens a document in a browser of the Chromium family: (document after its script, what it logged, picture)."""
    program = os.environ.get("BROWSER_FOR_TESTS") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed and BROWSER_FOR_TESTS names none")

    def show(document):
        import matplotlib.image

        (tmp_path / "page.html").write_text(document, encoding="utf-8")
        done = subprocess.run(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,1600",
             "--virtual-time-budget=5000", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
             f"--screenshot={tmp_path / 'page.png'}", "--dump-dom", (tmp_path / "page.html").as_uri()],
            capture_output=True, encoding="utf-8", timeout=300, check=True)
        logged = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return done.stdout, logged, matplotlib.image.imread(tmp_path / "page.png")

    return show


def test_a_browser_draws_twenty_utterances(browser):
    samples, _ = soundfile.read(JFK, dtype="float32", frames=32000)
    best = spoken("the cat sat", score=-1.0)
    detail = Detail(samples, (best, spoken("the cat sats", score=-2.0)))
    utterances = [(f"u{i:02d}", "the cat sat", "the cat sat", "the cats") for i in range(20)]
    page = page_of(*utterances, details={name: detail for name, *_ in utterances},
                   seconds={"encoder": 1.0, "ar-greedy": 0.5, "nar-greedy": 0.1})
    document, logged, picture = browser(render(page))
    assert logged == []
    assert document.count('<details class="utterance"') == 20
    shown = 3  # are open at the start
    assert document.count("<audio") == document.count('class="playhead"') == shown
    assert document.count('class="span word"') == document.count('class="span token"') == 3 * shown
    assert document.count('class="node"') == 4 * shown and document.count('class="edge"') == 3 * shown
    assert document.count('class="reliability"') == 2
    assert len(re.findall(r'<td class="sub"[^>]*>cats</td>', document)) == shown
    assert picture[..., :3].std() > 0.05 and len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 100


def test_a_browser_runs_nothing_that_is_said(browser):
    document, logged, _ = browser(render(evil_page()))
    assert logged == [] and "<title>ran</title>" not in document
    assert document.count("<script") == 2 and "<img src=\"x\"" not in document
    assert document.count("&lt;img src=x") >= 5  # it is shown


@pytest.fixture(scope="module")
def talker(toy):
    return random_model("tiny", Tokenizer(toy / "lang").vocab_size)


def test_decode_writes_a_page(toy, talker, tmp_path):
    pytest.importorskip("k2")
    save_checkpoint(tmp_path / "epoch-1.pt", {"model": talker.state_dict(), "model_config": as_dict(talker.config)})
    out = tmp_path / "sub" / "page.html"
    decode.main(["--exp-dir", str(tmp_path), "--cuts", str(toy / "dev.jsonl.gz"), "--lang-dir", str(toy / "lang"),
                 "--num-workers", "0", "--method", "nar-greedy,viterbi", "--report", str(out)])
    data = data_in(out.read_text())
    told = json.loads((tmp_path / "decode" / "summary-dev.json").read_text())["methods"]
    assert [(m["label"], m["wer"]) for m in data["methods"]] == [(name, told[name]["wer"]) for name in told]
    assert len(data["utterances"]) == 20
    for utterance in data["utterances"]:
        assert utterance["sound"] and utterance["pictures"] and utterance["graph"]["nodes"]
        assert sum(path["share"] for path in utterance["paths"]) == pytest.approx(1.0)


def test_transcripts_have_a_page(toy, talker, tmp_path):
    recognizer = Recognizer(talker, Tokenizer(toy / "lang"))
    write_transcription(tmp_path / "page.html", recognizer, [Result(str(JFK), 11.0)], "sar", SearchConfig(), NOTHING)
    data = data_in((tmp_path / "page.html").read_text())
    assert data["labels"][:3] == ["sar", "ar-greedy", "nar-greedy"] and not data["references"]
    utterance, = data["utterances"]
    sar = recognizer.transcribe([JFK], "sar")[0]
    assert [word["text"] for word in utterance["rows"][0]["words"]] == [word.text for word in sar.words]
    assert sum(seconds for _, seconds in utterance["pictures"]) == pytest.approx(11.0)
    assert all(m["search"] > 0 for m in data["methods"]) and data["encoder"] > 0
