"""noisy_copies.py and repeated_words.py: what the copies are, that the same seed gives the same ones, and bad input."""

import random
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import CutSet

from tests.data.corpus import babble, write_cuts
from tests.recipes.shell import SHARED

sys.path.insert(0, str(SHARED))

import noisy_copies
from noisy_copies import RATIOS, SPEEDS, VOICES, Noises, samples_of


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cuts")
    cuts = write_cuts(folder / "audio", 10)
    cuts.to_file(folder / "cuts.jsonl.gz")
    (folder / "music").mkdir()
    soundfile.write(folder / "music" / "a.wav", babble(20000, 77), 16000)
    return folder


@pytest.fixture(scope="module")
def noises(cuts):
    return Noises([babble(20000, 77)], list(CutSet.from_file(cuts / "cuts.jsonl.gz"))[3:])


def first(cuts):
    return next(iter(CutSet.from_file(cuts / "cuts.jsonl.gz")))


@pytest.mark.parametrize("kind", ["babble", "music"])
def test_the_same_noise_at_every_ratio(kind, cuts, noises):
    cut = first(cuts)
    clean = samples_of(cut)
    noise = {ratio: noises.make(cut, f"{kind}-{ratio}", 0) - clean for ratio in RATIOS}
    for ratio, added in noise.items():
        assert 10 * np.log10(np.mean(clean**2) / np.mean(added**2)) == pytest.approx(float(ratio), abs=0.05)
        np.testing.assert_allclose(added, noise["0"] * 10 ** (-float(ratio) / 20), atol=1e-5)
    other = noises.make(cut, f"{kind}-0", 1) - clean
    assert not np.allclose(other, noise["0"], atol=1e-3), "another seed is other noise"


def test_other_conditions(cuts, noises):
    cut = first(cuts)
    clean = samples_of(cut)
    assert np.array_equal(noises.make(cut, "clean", 0), clean)
    for speed in SPEEDS:
        assert len(noises.make(cut, f"speed-{speed}", 0)) == pytest.approx(len(clean) / float(speed), abs=1)
    for room in ("near", "far"):
        wet = noises.make(cut, f"room-{room}", 0)
        assert np.mean(wet**2) == pytest.approx(np.mean(clean**2), rel=1e-3) and not np.allclose(wet, clean, atol=1e-3)
    spectrum = np.abs(np.fft.rfft(noises.make(cut, "telephone", 0))) ** 2
    hertz = np.arange(len(spectrum)) * 8000 / (len(spectrum) - 1)
    assert spectrum[hertz > 5000].sum() < 0.01 * spectrum[(hertz > 300) & (hertz < 3400)].sum()


@given(length=st.integers(1, 60000), seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_babble_has_the_length_and_the_power_of_its_voices(length, seed, noises):
    mixed = noisy_copies.babble(noises.speech, length, random.Random(seed))
    assert len(mixed) == length and np.isfinite(mixed).all()
    if length == 60000:
        assert np.mean(mixed**2) == pytest.approx(VOICES, rel=0.5)


def made(folder, cuts, *options):
    words = ["--cuts", cuts / "cuts.jsonl.gz", "--babble", cuts / "cuts.jsonl.gz", "--out-dir", folder, *options]
    noisy_copies.main(list(map(str, words)))
    return {cut.id: cut for cut in CutSet.from_file(folder / "a_cuts_noisy.jsonl.gz")}


def test_the_manifest(cuts, tmp_path):
    """Every third utterance in every condition, with its text; each copy the same as among all utterances."""
    some = made(tmp_path / "some", cuts, "--every", "3", "--prefix", "a", "--music", cuts / "music")
    assert {name.partition("@")[0] for name in some} == {"utt000", "utt003", "utt006", "utt009"}
    assert len(some) == 4 * len(Noises([1], [1]).conditions()) == 4 * 16
    assert some["utt003@music-5"].supervisions[0].text == "DELTA"
    assert all(cut.duration == cut.supervisions[0].duration == cut.recording.duration for cut in some.values())
    without = made(tmp_path / "all", cuts, "--prefix", "a")
    assert len(without) == 10 * 12, "no music"
    for name in ("utt003@babble-0", "utt003@room-far", "utt006@speed-1.25"):
        assert np.array_equal(some[name].load_audio(), without[name].load_audio())


def test_errors_are_one_line(cuts, tmp_path, capsys):
    few = CutSet.from_cuts(list(CutSet.from_file(cuts / "cuts.jsonl.gz"))[:3])
    few.to_file(tmp_path / "few.jsonl.gz")
    CutSet.from_cuts([first(cuts).with_id("a@b")]).to_file(tmp_path / "marked.jsonl.gz")
    (tmp_path / "silence").mkdir()
    good = ["--cuts", cuts / "cuts.jsonl.gz", "--out-dir", tmp_path / "out"]
    for options, message in (
        (["--cuts", cuts / "cuts.jsonl.gz"], "--cuts and --out-dir are required"),
        ([*good, "--babble", tmp_path / "few.jsonl.gz"], "has 3 utterances: at least 6 are needed"),
        ([*good, "--music", tmp_path / "silence"], "silence holds no audio"),
        ([*good, "--split", "a@b"], "@ separates ids and conditions"),
        ([*good, "--cuts", tmp_path / "marked.jsonl.gz"], "no @ in its id"),
    ):
        with pytest.raises(SystemExit) as stopped:
            noisy_copies.main(list(map(str, options)))
        errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
        assert stopped.value.code == 2 and len(errors) == 1 and message in errors[0]
    assert not list((tmp_path / "out").glob("*.jsonl.gz"))


def test_repeated_words(tmp_path, monkeypatch):
    pytest.importorskip("hibari")  # the voice
    import repeated_words

    monkeypatch.setattr(repeated_words, "DIGITS", ("three",))
    monkeypatch.setattr(repeated_words, "REPEATS", (2, 8))
    repeated_words.main(["--out-dir", str(tmp_path), "--voices", "1"])
    cuts = {cut.id: cut for cut in CutSet.from_file(tmp_path / "cuts_repeats.jsonl.gz")}
    assert list(cuts) == [f"three-{n}-0-{pace}@repeat-{n}" for n in (2, 8) for pace in repeated_words.PACES]
    for name, cut in cuts.items():
        assert cut.supervisions[0].text.split() == ["three"] * int(name.rpartition("-")[2])
        assert np.abs(cut.load_audio()).max() > 0.1
    assert cuts["three-8-0-1.0@repeat-8"].duration > 2 * cuts["three-2-0-1.0@repeat-2"].duration
