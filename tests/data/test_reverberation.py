"""Room impulse responses: lhotse's convolution against numpy, the same choices in every order, errors in one line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import AudioSource, CutSet, Recording, RecordingSet
from lhotse.cut import MixedCut

from hainan_k2.data.augment import NoiseMix, generator
from hainan_k2.data.config import DataConfig
from hainan_k2.data.cuts import StoredCuts
from hainan_k2.data.datamodule import train_loader
from hainan_k2.data.reverberation import Reverberation
from tests.data.corpus import write_cuts
from tests.data.test_datamodule import CONFIG, ids, same


def write_response(path: Path, seed: int, rate: int = 16000, channels: int = 1, seconds: float = 0.2) -> Recording:
    """A response whose direct sound comes after 2 ms, with a decaying tail."""
    time = np.arange(round(seconds * rate)) / rate
    tail = np.random.default_rng(seed).standard_normal((len(time), channels)) * 0.2 * 10 ** (-15 * time[:, None])
    response = tail * (time[:, None] > 0.002)
    response[round(0.002 * rate)] = 0.9
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, response, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
    return Recording.from_file(path)


@pytest.fixture(scope="module")
def rirs(tmp_path_factory):
    """The manifest of four responses, one at 8 kHz, one of two channels."""
    folder = tmp_path_factory.mktemp("rirs")
    responses = [
        write_response(folder / "a.wav", 1),
        write_response(folder / "b.wav", 2, channels=2),
        write_response(folder / "c.wav", 3, rate=8000),
        write_response(folder / "d.wav", 4, seconds=0.5),
    ]
    RecordingSet.from_recordings(responses).to_file(folder / "rirs.jsonl.gz")
    return folder / "rirs.jsonl.gz"


@pytest.fixture(scope="module")
def speech_and_response(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    (cut,) = write_cuts(folder, 1)
    return cut, write_response(folder / "rir.wav", 7, channels=2)


@settings(max_examples=30, deadline=None)
@given(start=st.integers(0, 2000), length=st.integers(1, 2500), epoch=st.integers(0, 5))
def test_samples_are_those_of_a_convolution_in_numpy(speech_and_response, start, length, epoch):
    speech, response = speech_and_response
    cut = speech.truncate(offset=start / 16000, duration=length / 16000, preserve_id=True)
    dry = cut.load_audio()[0].astype(np.float64)
    (wet,) = Reverberation([response], prob=1.0)(CutSet.from_cuts([cut]), 3, epoch)
    impulse = response.load_audio()[0].astype(np.float64)
    shift = int(np.argmax(impulse))
    expected = np.convolve(dry, impulse)[shift : shift + len(dry)]
    expected *= np.sqrt(np.mean(dry**2) / max(np.mean(expected**2), 1e-30))
    found = wet.load_audio()[0]
    assert found.shape == dry.shape and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max() + 1e-9)
    assert wet.id == cut.id and wet.supervisions[0].text == cut.supervisions[0].text


def test_a_cut_has_the_same_response_in_every_batch(tmp_path, rirs):
    cuts = write_cuts(tmp_path, 12)
    reverb = Reverberation.of_manifest(rirs, 0.5)
    together = list(reverb(cuts, 1, 2))
    for cut, wet in zip(cuts, together):
        (alone,) = reverb(CutSet.from_cuts([cut]), 1, 2)
        assert alone.id == wet.id == cut.id and wet.duration == cut.duration
        assert np.array_equal(alone.load_audio(), wet.load_audio())
    changed = [wet is not cut for cut, wet in zip(cuts, together)]
    assert 1 < sum(changed) < 11
    assert changed != [wet is not cut for cut, wet in zip(cuts, reverb(cuts, 1, 3))]
    assert changed != [wet is not cut for cut, wet in zip(cuts, reverb(cuts, 2, 2))]
    assert all(wet is cut for cut, wet in zip(cuts, Reverberation.of_manifest(rirs, 0.0)(cuts, 1, 2)))


def test_noise_is_mixed_into_a_reverberant_mixture(tmp_path, rirs):
    """The parts of a mixture are in the same room; noise is not."""
    first, second, noise = write_cuts(tmp_path, 3)
    mixture = first.append(second.drop_supervisions()).with_id("joined")
    (wet,) = Reverberation.of_manifest(rirs, 1.0)(CutSet.from_cuts([mixture]), 1, 1)
    (noisy,) = NoiseMix(CutSet.from_cuts([noise]), (10.0, 10.0), 1.0)(CutSet.from_cuts([wet]), generator(1, 1, "x"))
    assert wet.duration == noisy.duration == mixture.duration
    dry, reverberant, mixed = (cut.load_audio()[0] for cut in (mixture, wet, noisy))
    assert dry.shape == reverberant.shape == mixed.shape and not np.allclose(dry, reverberant, atol=1e-3)
    level = 10 * np.log10(np.sum(reverberant**2) / np.sum((mixed - reverberant) ** 2))
    assert 5 < level < 15


def test_shares_are_those_asked_for(tmp_path, rirs):
    (cut,) = write_cuts(tmp_path, 1)
    cuts = CutSet.from_cuts(cut.with_id(f"c{i}") for i in range(400))
    wet = [w for w in Reverberation.of_manifest(rirs, 0.3)(cuts, 0, 1) if w.recording.transforms]
    assert 90 < len(wet) < 150
    assert len({w.recording.transforms[-1].rir.id for w in wet}) == 4


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_resumed_epoch_equals_an_uninterrupted_one(folder, tmp_path, rirs, num_workers):
    write_cuts(tmp_path / "noise", 3).to_file(tmp_path / "noise.jsonl.gz")
    config = replace(CONFIG, rir_recordings=str(rirs), rir_prob=0.7, noise_cuts=str(tmp_path / "noise.jsonl.gz"))
    path = folder / "raw.jsonl.gz"
    whole = list(train_loader(path, config, seed=5, epoch=2))
    resumed = train_loader(path, replace(config, num_workers=num_workers), seed=5, epoch=2, skip_batches=3)
    assert len(whole) > 5 and same(list(resumed), whole[3:])
    for other in (replace(config, rir_recordings=""), replace(config, noise_cuts="")):
        clean = list(train_loader(path, other, seed=5, epoch=2))
        assert ids(clean) == ids(whole) and not same(clean, whole)
        for a, b in zip(clean, whole):
            assert a["supervisions"]["num_frames"].equal(b["supervisions"]["num_frames"])


def test_stored_features_need_audio_for_rooms_and_features_for_noise(folder, tmp_path, rirs):
    with pytest.raises(ValueError, match="rir_recordings needs audio, and these cuts have stored features"):
        train_loader(folder / "fbank.jsonl.gz", replace(CONFIG, rir_recordings=str(rirs)))
    write_cuts(tmp_path / "noise", 3).to_file(tmp_path / "noise.jsonl.gz")
    with pytest.raises(ValueError, match="noise.jsonl.gz: noise without features, and the training cuts have stored"):
        train_loader(folder / "fbank.jsonl.gz", replace(CONFIG, noise_cuts=str(tmp_path / "noise.jsonl.gz")))


def lines(text):
    def write(path):
        path.write_text(text)

    return write


def command(path):
    recording = Recording("r", [AudioSource("command", [0], f"touch {path}.ran")], 16000, 1600, 0.1)
    RecordingSet.from_recordings([recording]).to_file(path)


def command_in_a_response(path):
    """A recording whose audio is a file, convolved with a response that is a command."""
    audio = write_response(path.parent / "a.wav", 1)
    rir = Recording("r", [AudioSource("command", [0], f"touch {path}.ran")], 16000, 1600, 0.1)
    RecordingSet.from_recordings([audio.reverb_rir(rir)]).to_file(path)


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda path: None, "rirs.jsonl: no such recording manifest"),
        (lines(""), "rirs.jsonl: the manifest is empty"),
        (lines('{"id": "x"}\n'), "rirs.jsonl:1: not a lhotse recording"),
        (lines("{\n"), "rirs.jsonl:1: not a lhotse recording"),
        (command, "rirs.jsonl:1: the audio of recording r is a shell command"),
        (command_in_a_response, "rirs.jsonl:1: the audio of recording a_rvb is a shell command"),
    ],
)
def test_bad_manifests(tmp_path, write, message):
    write(tmp_path / "rirs.jsonl")
    with pytest.raises(ValueError) as error:
        Reverberation.of_manifest(tmp_path / "rirs.jsonl")
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.glob("*.ran"))


def test_a_cut_manifest_is_not_one_of_responses(folder):
    with pytest.raises(ValueError, match="raw.jsonl.gz:1: a MonoCut, not a lhotse recording"):
        Reverberation.of_manifest(folder / "raw.jsonl.gz")


def test_a_cut_whose_room_response_is_a_command_is_refused(tmp_path):
    (cut,) = write_cuts(tmp_path, 1)
    rir = Recording("r", [AudioSource("command", [0], f"touch {tmp_path}/ran")], 16000, 1600, 0.1)
    mixed = cut.mix(cut.with_id("other"))
    inner = mixed.reverb_rir(rir).mix(cut.with_id("third"))  # a mixture in a mixture
    assert isinstance(inner.tracks[0].cut, MixedCut)
    hostiles = (cut.reverb_rir(rir), mixed.reverb_rir(rir), cut.reverb_rir(rir.to_cut()), inner)
    for number, hostile in enumerate(hostiles):
        path = tmp_path / f"{number}.jsonl"
        CutSet.from_cuts([hostile]).to_file(path)
        with pytest.raises(ValueError, match=f"{number}.jsonl:1: the audio of cut .* is a shell command"):
            list(StoredCuts(path))
    assert not (tmp_path / "ran").exists()


def test_bad_options():
    with pytest.raises(ValueError, match="rir_prob"):
        DataConfig(rir_prob=1.5)
    with pytest.raises(ValueError, match="rir_prob is 2"):
        Reverberation([], 2)
    with pytest.raises(ValueError, match="set of room impulse responses is empty"):
        Reverberation([])


def test_an_unreadable_response_leaves_out_the_cut_and_names_the_file(folder, tmp_path):
    response = write_response(tmp_path / "lost.wav", 1)
    (tmp_path / "rirs.jsonl").write_text(json.dumps(response.to_dict()) + "\n")
    (tmp_path / "lost.wav").unlink()
    config = replace(CONFIG, rir_recordings=str(tmp_path / "rirs.jsonl"), rir_prob=1.0)
    batch = next(iter(train_loader(folder / "raw.jsonl.gz", config)))
    assert batch["left_out"] and all("lost.wav" in reason for _, reason in batch["left_out"])
