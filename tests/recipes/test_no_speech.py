"""Clips without speech: of four kinds, reproducible, with empty transcripts, and a model can train on them."""

import sys

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.utils import fastcopy

from hainan_k2 import train
from hainan_k2.files.jsonl import read_lines
from tests.recipes.shell import ROOT

sys.path.insert(0, str(ROOT / "recipes" / "amazon_queen" / "local"))

import mix
import no_speech

HOURS = 0.02


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noise")
    soundfile.write(folder / "music.wav", np.sin(np.arange(24000) / 5.0) / 2, 8000)
    return folder


def make(noise, folder, *options):
    manifest = folder / "librispeech_cuts_no-speech.jsonl.gz"
    sys.argv = ["no_speech.py", f"--noise-dir={noise}", f"--dir={folder}", f"--manifest={manifest}", *options]
    no_speech.main()
    return CutSet.from_file(manifest).to_eager()


@pytest.fixture(scope="module")
def cuts(noise, tmp_path_factory):
    return make(noise, tmp_path_factory.mktemp("clips"), f"--hours={HOURS}")


def test_clips_have_empty_transcripts_and_the_hours_asked_for(cuts):
    seconds = [cut.duration for cut in cuts]
    assert 3600 * HOURS <= sum(seconds) < 3600 * HOURS + no_speech.LENGTH[1]
    assert min(seconds) >= no_speech.LENGTH[0] and max(seconds) <= no_speech.LENGTH[1]
    assert {cut.supervisions[0].text for cut in cuts} == {""} and len(set(cuts.ids)) == len(cuts)
    for cut in cuts:
        assert cut.sampling_rate == 16000 and cut.supervisions[0].duration == cut.duration


def test_clips_are_digital_silence_or_have_a_level(cuts):
    for number, cut in enumerate(cuts):
        (samples,) = cut.load_audio()
        assert np.isfinite(samples).all() and np.abs(samples).max() <= 1
        if number % 4 == 0:
            assert not samples.any()
        else:  # 16 bits round the lowest levels
            level = 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))
            assert no_speech.LEVEL[0] - 1 <= level <= no_speech.LEVEL[1] + 0.1


def test_the_same_options_give_the_same_bytes(noise, cuts, tmp_path):
    again, other = (
        make(noise, tmp_path, f"--hours={HOURS}"),
        make(noise, tmp_path / "x", f"--hours={HOURS}", "--seed=1"),
    )
    for cut, copy in zip(cuts, again):
        assert cut.id == copy.id
        (first,), (second,) = ([source.source for source in c.recording.sources] for c in (cut, copy))
        with open(first, "rb") as one, open(second, "rb") as two:
            assert one.read() == two.read()
    assert [cut.duration for cut in again] != [cut.duration for cut in other]


def test_joined_with_speech_they_leave_its_text_alone(cuts):
    before, speech, after, *_ = cuts
    (supervision,) = speech.supervisions
    speech = fastcopy(speech, supervisions=[fastcopy(supervision, text="one two")])
    assert mix.one_text(before.append(speech).append(after)).supervisions[0].text == "one two"


def test_training_on_nothing_but_clips_without_speech(noise, tmp_path):
    """Batches without a single label: updates are made, and none is skipped."""
    make(noise, tmp_path, f"--hours={HOURS / 4}")
    recording = Recording.from_file(ROOT / "tests" / "data" / "jfk.flac", recording_id="jfk")
    cut = recording.to_cut()
    cut.supervisions = [SupervisionSegment("jfk", "jfk", 0.0, cut.duration, text="ask not")]
    CutSet.from_cuts([cut]).to_file(tmp_path / "dev.jsonl.gz")
    train.main(
        [
            "--init-from=released",
            "--freeze-encoder",
            f"--exp-dir={tmp_path / 'exp'}",
            f"--train-cuts={tmp_path / 'librispeech_cuts_no-speech.jsonl.gz'}",
            f"--dev-cuts={tmp_path / 'dev.jsonl.gz'}",
            "--max-duration=10",
            "--num-workers=0",
            "--num-epochs=1",
            "--device=cpu",
        ]
    )
    (epoch,) = read_lines(tmp_path / "exp" / "epochs.jsonl")
    assert epoch["update"] > 1 and epoch["skipped"] == epoch["unalignable"] == epoch["unreadable"] == 0
    assert np.isfinite(epoch["dev_loss"])


def test_a_folder_without_noise(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        make(tmp_path, tmp_path / "out")
    assert stopped.value.code == 2 and "holds no audio" in capsys.readouterr().err
