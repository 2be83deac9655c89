"""The synthetic corpus: deterministic, with disjoint splits, readable by lhotse."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse.recipes.librispeech import prepare_librispeech

from tests.recipes.shell import ROOT, bash

RECIPE = ROOT / "recipes" / "librispeech"
sys.path[:0] = [str(RECIPE / "local"), str(ROOT / "recipes" / "shared")]

pytest.importorskip("hibari")  # the voice

from synth_corpus import CorpusConfig, plan, speak_chapter
from voice import EDGE, FADE, MARGIN, PAUSE, RATE, draw_silences, with_silences

SMALL = RECIPE / "conf" / "synth_small.grammar"
COMMAND = f'"{sys.executable}" "{RECIPE}/local/synth_corpus.py" --grammar "{SMALL}" "$@"'


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The smallest corpus: dev has at least 40 s and test 80 s, for any --hours."""
    folder = tmp_path_factory.mktemp("synth")
    done = bash(COMMAND, "--dir", "one", "--hours", "0.005", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "one"


def test_the_same_options_give_the_same_bytes_even_after_a_crash(corpus):
    before = digest(corpus)
    chapter = next(corpus.rglob("*.trans.txt"))
    others = {path: path.stat().st_mtime_ns for path in corpus.rglob("*.flac") if path.parent != chapter.parent}
    chapter.unlink()
    next(chapter.parent.glob("*.flac")).write_bytes(b"half")
    done = bash(COMMAND, "--dir", "one", "--hours", "0.005", cwd=corpus.parent)
    assert done.returncode == 0 and "1 chapters are to be synthesized" in done.stderr
    assert digest(corpus) == before
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_another_seed_gives_other_sentences_and_speakers(corpus):
    one, other = (plan(CorpusConfig(dir="x", grammar=str(SMALL), hours=0.005, seed=seed)) for seed in (0, 1))
    assert one == plan(CorpusConfig(dir="x", grammar=str(SMALL), hours=0.005, seed=0))
    assert not {c.speaker for c in one} & {c.speaker for c in other}
    assert {t for c in one for t in c.sentences} != {t for c in other for t in c.sentences}


def test_a_folder_with_other_settings_is_an_error(corpus):
    done = bash(COMMAND, "--dir", "one", "--hours", "0.006", cwd=corpus.parent)
    assert done.returncode == 2 and "one has a corpus with other settings" in done.stderr


@pytest.mark.parametrize("grammar, hours", [("synth_small", 0.8), ("synth_large", 3.0)])
def test_splits_share_no_sentence_and_no_speaker(grammar, hours):
    chapters = plan(CorpusConfig(dir="x", grammar=str(RECIPE / "conf" / f"{grammar}.grammar"), hours=hours))
    splits = {c.folder.parts[2] for c in chapters}
    assert splits == {"train-clean-100", "dev-clean", "test-clean"}
    for values in (
        [(t, c) for c in chapters for t in c.sentences],
        [(c.speaker, c) for c in chapters],
        [(c.speaker.id, c) for c in chapters],
    ):
        found = {}
        for value, chapter in values:
            assert found.setdefault(value, chapter.folder.parts[2]) == chapter.folder.parts[2]
    texts = {split: [t for c in chapters for t in c.sentences if split in c.folder.parts] for split in splits}
    alone = {t for t in texts["train-clean-100"] if " " not in t}
    sentences = [t for split in splits for t in texts[split] if t not in alone]
    assert len(set(sentences)) == len(sentences)
    if grammar == "synth_small":
        assert alone == {w for t in texts["train-clean-100"] for w in t.split()}
    tests = [t for c in chapters for t in c.sentences if "test-clean" in c.folder.parts]
    words = {w for t in sentences for w in t.split()}
    assert len(tests) >= 200 and (len(words) < 100 if grammar == "synth_small" else len(words) > 2000)


def test_the_demo_trains_on_many_speakers():
    """A model trained on few pseudo-speakers learns these; the test speakers are others."""
    chapters = plan(CorpusConfig(dir="x", grammar=str(SMALL)))
    speakers = {
        split: {c.speaker.id for c in chapters if split in c.folder.parts}
        for split in ("train-clean-100", "dev-clean", "test-clean")
    }
    assert {split: len(ids) for split, ids in speakers.items()} == {
        "train-clean-100": 96,
        "dev-clean": 4,
        "test-clean": 8,
    }
    words = {w for c in chapters for t in c.sentences for w in t.split()}
    assert len(words) < 100


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


def utterances_of(corpus: Path):
    """Samples and the (symbol, start, end) of words and silences of every utterance of six chapters."""
    for path in sorted((corpus / "LibriSpeech").rglob("*.alignment.txt"))[:6]:
        for line in path.read_text().splitlines():
            name, symbols, ends = line.split()
            samples, rate = soundfile.read(path.parent / f"{name}.flac")
            assert rate == RATE
            ends = [float(e) for e in ends.strip('"').split(",")]
            yield samples, list(zip(symbols.strip('"').split(","), [0.0, *ends], ends))


def power(samples: np.ndarray, start: float, end: float) -> float:
    return np.mean(samples[int(start * RATE) : int(end * RATE)] ** 2)


def test_words_are_loud_at_their_times(corpus):
    """Every word has more power than the inserted silences."""
    ratios = []
    for samples, items in utterances_of(corpus):
        assert items[0][0] == items[-1][0] == ""
        silence = max(
            power(samples, start + MARGIN, end - MARGIN)
            for symbol, start, end in items
            if not symbol and end - start > PAUSE[0] + MARGIN
        )
        ratios += [power(samples, start, end) / silence for symbol, start, end in items if symbol]
    assert len(ratios) > 100 and np.mean(np.array(ratios) > 3) > 0.98


def test_silences_have_many_lengths_and_contain_noise(corpus):
    utterances = list(utterances_of(corpus))
    for item in (0, -1):
        lengths = [items[item][2] - items[item][1] for _, items in utterances]
        low, high = EDGE[0] + MARGIN, EDGE[1] + MARGIN
        assert low - 0.002 < min(lengths) < low + 0.15 and high - 0.4 < max(lengths) < high + 0.002
        assert np.std(lengths) > 0.1
    pauses = [end - start for _, items in utterances for symbol, start, end in items[1:-1] if not symbol]
    assert 0.1 < np.mean(np.array(pauses) > PAUSE[0] + 0.05) < 0.5
    for samples, items in utterances:
        start, end = items[0][1], items[0][2] - MARGIN
        assert len(set(np.round(samples[int(start * RATE) : int(end * RATE)] * 32768))) > 2
        assert 0 < power(samples, start, end) < 0.02 * power(samples, items[1][1], items[-2][2])


def test_words_move_with_the_silences_before_them():
    words = [("a", 0.3, 0.5), ("b", 0.5, 0.56), ("c", 0.6, 0.9)]
    wave = np.zeros(int(1.3 * RATE))
    for level, (_, start, end) in enumerate(words, 1):
        wave[round(start * RATE) : round(end * RATE)] = level
    silences = np.array([0.7, 0.0, 0.2, 0.4])
    longer, moved = with_silences(wave, words, silences)
    assert len(longer) == pytest.approx((0.6 + 2 * MARGIN + silences.sum()) * RATE, abs=2)
    shifts = np.cumsum(silences[:3]) + MARGIN - 0.3
    assert np.array([time for _, *time in moved]).ravel() == pytest.approx(
        [time + shift for (_, *times), shift in zip(words, shifts) for time in times], abs=2e-4
    )
    for level, (_, start, end) in enumerate(moved, 1):
        inside = longer[round(start * RATE) + 3 : round(end * RATE) - 3]
        assert inside.max() == level and (inside[round(FADE * RATE) : -round(FADE * RATE)] == level).all()
    assert (longer[: round(moved[0][1] * RATE) - 3] == 0).all() and (longer[round(moved[2][2] * RATE) + 3 :] == 0).all()
    assert wave.max() == 3 and (wave[round(0.85 * RATE) : round(0.9 * RATE)] == 3).all()  # not faded in place


@pytest.mark.parametrize("words", [1, 2, 9])
def test_silences_are_drawn_before_every_word_and_at_the_end(words):
    drawn = np.array([draw_silences(words, np.random.default_rng(seed)) for seed in range(200)])
    assert drawn.shape == (200, words + 1)
    assert (drawn == np.array([draw_silences(words, np.random.default_rng(seed)) for seed in range(200)])).all()
    edges, pauses = drawn[:, [0, -1]], drawn[:, 1:-1]
    assert (EDGE[0] <= edges).all() and (edges <= EDGE[1]).all()
    assert ((pauses == 0) | ((PAUSE[0] <= pauses) & (pauses <= PAUSE[1]))).all()


def test_the_transcript_of_a_chapter_is_written_last(tmp_path, monkeypatch):
    chapter = plan(CorpusConfig(dir=str(tmp_path), grammar=str(SMALL), hours=0.005))[0]
    written = []
    monkeypatch.setattr("os.replace", lambda part, path: written.append(Path(path).name))
    assert speak_chapter(chapter) > 0
    assert [name.split(".")[1] for name in written] == ["alignment", "trans"]


@pytest.mark.parametrize(
    "grammar, hours, seed, digest",
    [
        ("small", 2.0, 0, "44bae7ba7f4c09238b889f0bf0f06e7e"),
        ("small", 0.05, 7, "c5d1805fe76db6891b7dc8f772e30d42"),
        ("large", 0.3, 0, "f49655465b7e57122204ac3acb9f7810"),
    ],
)
def test_the_texts_of_a_seed_stay_the_same(grammar, hours, seed, digest):
    """The demo's results were measured on them."""
    chapters = plan(
        CorpusConfig(dir="x", grammar=str(RECIPE / f"conf/synth_{grammar}.grammar"), hours=hours, seed=seed)
    )
    assert hashlib.md5(json.dumps([chapter.sentences for chapter in chapters]).encode()).hexdigest() == digest


def test_settings_are_stored_with_the_corpus(corpus):
    assert json.loads((corpus / "synth.json").read_text())["hours"] == 0.005
    speakers = (corpus / "LibriSpeech" / "SPEAKERS.TXT").read_text().splitlines()
    folders = {path.name for path in (corpus / "LibriSpeech").glob("*/*") if path.is_dir()}
    assert {line.split()[1] for line in speakers} == folders
