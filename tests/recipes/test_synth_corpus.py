"""The synthetic corpus: repeatable, nothing shared between splits, readable by lhotse."""

import hashlib
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse.recipes.librispeech import prepare_librispeech

from tests.recipes.shell import ROOT, bash

RECIPE = ROOT / "recipes" / "librispeech"
sys.path.insert(0, str(RECIPE / "local"))

from grammar import Grammar, inflect  # noqa: E402
from synth_corpus import CorpusConfig, plan, speak_chapter  # noqa: E402

SMALL = RECIPE / "conf" / "synth_small.grammar"
COMMAND = f'"{sys.executable}" "{RECIPE}/local/synth_corpus.py" --grammar "{SMALL}" "$@"'


def digest(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The smallest corpus: 40 s for dev and 80 s for test are its least, whatever --hours says."""
    folder = tmp_path_factory.mktemp("synth")
    done = bash(COMMAND, "--dir", "one", "--hours", "0.005", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "one"


def test_the_same_options_give_the_same_bytes_also_after_a_crash(corpus):
    before = digest(corpus)
    chapter = next(corpus.rglob("*.trans.txt"))
    others = {path: path.stat().st_mtime_ns for path in corpus.rglob("*.flac")
              if path.parent != chapter.parent}
    chapter.unlink()
    next(chapter.parent.glob("*.flac")).write_bytes(b"half")
    done = bash(COMMAND, "--dir", "one", "--hours", "0.005", cwd=corpus.parent)
    assert done.returncode == 0 and "1 of them to be spoken" in done.stderr
    assert digest(corpus) == before
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_another_seed_says_something_else_with_other_voices(corpus):
    one, other = (plan(CorpusConfig(dir="x", grammar=str(SMALL), hours=0.005, seed=seed)) for seed in (0, 1))
    assert one == plan(CorpusConfig(dir="x", grammar=str(SMALL), hours=0.005, seed=0))
    assert not {c.speaker for c in one} & {c.speaker for c in other}
    assert {t for c in one for t in c.sentences} != {t for c in other for t in c.sentences}


def test_a_folder_of_other_settings_is_refused(corpus):
    done = bash(COMMAND, "--dir", "one", "--hours", "0.006", cwd=corpus.parent)
    assert done.returncode == 2 and "one holds a corpus of other settings" in done.stderr


@pytest.mark.parametrize("grammar, hours", [("synth_small", 0.75), ("synth_large", 3.0)])
def test_splits_share_no_sentence_and_no_speaker(grammar, hours):
    chapters = plan(CorpusConfig(dir="x", grammar=str(RECIPE / "conf" / f"{grammar}.grammar"), hours=hours))
    splits = {c.folder.parts[2] for c in chapters}
    assert splits == {"train-clean-100", "dev-clean", "test-clean"}
    for values in ([(t, c) for c in chapters for t in c.sentences], [(c.speaker, c) for c in chapters],
                   [(c.speaker.id, c) for c in chapters]):
        found = {}
        for value, chapter in values:
            assert found.setdefault(value, chapter.folder.parts[2]) == chapter.folder.parts[2]
    sentences = [t for c in chapters for t in c.sentences]
    assert len(set(sentences)) == len(sentences)
    tests = [t for c in chapters for t in c.sentences if "test-clean" in c.folder.parts]
    words = {w for t in sentences for w in t.split()}
    assert len(tests) >= 200 and (len(words) < 100 if grammar == "synth_small" else len(words) > 2000)


def test_lhotse_reads_it_with_the_true_word_times(corpus):
    manifests = prepare_librispeech(corpus / "LibriSpeech", alignments_dir=corpus / "LibriSpeech")
    assert set(manifests) == {"train-clean-100", "dev-clean", "test-clean"}
    texts = set()
    for split, manifest in manifests.items():
        recordings = {r.id: r for r in manifest["recordings"]}
        flacs = list((corpus / "LibriSpeech" / split).rglob("*.flac"))
        assert len(flacs) == len(manifest["supervisions"]) == len(recordings)
        for supervision in manifest["supervisions"]:
            assert recordings[supervision.recording_id].sampling_rate == 16000
            items = supervision.alignment["word"]
            assert " ".join(i.symbol for i in items if i.symbol) == supervision.text
            assert supervision.text == supervision.text.upper() and supervision.text not in texts
            assert all(i.duration > 0 for i in items)
            assert items[-1].end == pytest.approx(supervision.duration, abs=2e-3)
            texts.add(supervision.text)


def test_words_are_loud_where_the_times_say(corpus):
    """There is more sound in every word than before the first one and after the last."""
    ratios = []
    for path in sorted((corpus / "LibriSpeech").rglob("*.alignment.txt"))[:6]:
        for line in path.read_text().splitlines():
            name, symbols, ends = line.split()
            samples, rate = soundfile.read(path.parent / f"{name}.flac")
            symbols, ends = symbols.strip('"').split(","), [float(e) for e in ends.strip('"').split(",")]
            power = [np.mean(samples[int(start * rate):int(end * rate)] ** 2)
                     for start, end in zip([0.0, *ends], ends)]
            assert symbols[0] == symbols[-1] == ""
            silence = max(np.mean(samples[:int((ends[0] - 0.1) * rate)] ** 2), power[-1])
            ratios += [p / silence for p, symbol in zip(power, symbols) if symbol]
    assert np.mean(np.array(ratios) > 3) > 0.98


def test_a_chapter_is_whole_once_it_has_a_transcript(tmp_path, monkeypatch):
    chapter = plan(CorpusConfig(dir=str(tmp_path), grammar=str(SMALL), hours=0.005))[0]
    written = []
    monkeypatch.setattr("os.replace", lambda part, path: written.append(Path(path).name))
    assert speak_chapter(chapter) > 0
    assert [name.split(".")[1] for name in written] == ["alignment", "trans"]


def test_grammar(tmp_path):
    path = tmp_path / "g"
    path.write_text("# comment\nsentence: $verb~ed the $noun~s | go\n    | stop  # the end\n"
                    "verb: carry | like\nnoun: box\n")
    grammar = Grammar(path)
    found = set()
    with pytest.raises(ValueError, match="hardly more than 4 sentences"):
        for sentence in grammar.sentences(random.Random(0)):
            found.add(sentence)
    assert found == {"carried the boxes", "liked the boxes", "go", "stop"}


@pytest.mark.parametrize("text, words", [
    ("sentence: $verb me\n", "no rule for verb"),
    ("noun: box\n", "no rule for sentence"),
    ("sentence: go\nsentence: stop\n", ":2: not a new rule"),
    ("sentence\n", ":1: not a new rule"),
    ("  | go\n", ":1: an indented line"),
])
def test_grammars_that_are_refused(tmp_path, text, words):
    (tmp_path / "g").write_text(text)
    with pytest.raises(ValueError, match=words):
        Grammar(tmp_path / "g")


@pytest.mark.parametrize("word, s, ed, ing", [
    ("open", "opens", "opened", "opening"), ("carry", "carries", "carried", "carrying"),
    ("play with", "plays with", "played with", "playing with"), ("pass", "passes", "passed", "passing"),
    ("like", "likes", "liked", "liking"), ("watch", "watches", "watched", "watching"),
    ("agree", "agrees", "agreed", "agreeing"), ("mix", "mixes", "mixed", "mixing"),
])
def test_inflection(word, s, ed, ing):
    assert [inflect(word, ending) for ending in ("s", "ed", "ing")] == [s, ed, ing]


def test_settings_are_noted_beside_the_corpus(corpus):
    assert json.loads((corpus / "synth.json").read_text())["hours"] == 0.005
    speakers = (corpus / "LibriSpeech" / "SPEAKERS.TXT").read_text().splitlines()
    folders = {path.name for path in (corpus / "LibriSpeech").glob("*/*") if path.is_dir()}
    assert {line.split()[1] for line in speakers} == folders
