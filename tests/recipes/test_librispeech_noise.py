"""--musan and --rir of the recipes, on miniatures of MUSAN and RIRS_NOISES in their own folders."""

import gzip
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, RecordingSet

from hainan_k2.formats.checkpoint import load_newest
from recipes.shared.noise_manifests import main
from tests.data.corpus import babble, write_corpus
from tests.recipes.shell import ROOT, SHARED, bash

NAMES = {
    "music": ["fma/music-fma-0000", "jamendo/music-jamendo-0001"],
    "speech": ["librivox/speech-librivox-0000"],
    "noise": ["free-sound/noise-free-sound-0000", "sound-bible/noise-sound-bible-0001"],
}


def write_wav(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, 16000, subtype="PCM_16")


@pytest.fixture
def musan(tmp_path):
    """A folder as of SLR17: five recordings of 3 s, with licences and annotations beside them."""
    for part, names in NAMES.items():
        for number, name in enumerate(names):
            path = tmp_path / "musan" / part / f"{name}.wav"
            write_wav(path, babble(48000, number))
            (path.parent / "LICENSE").write_text("public domain\n")
            if part == "music":
                (path.parent / "ANNOTATIONS").write_text(f"{path.stem} classical,baroque N composer\n")
    return tmp_path / "musan"


@pytest.fixture
def rir(tmp_path):
    """A folder as of SLR28: one measured response of two channels, three simulated ones, and noises."""
    folder, rng = tmp_path / "RIRS_NOISES", np.random.default_rng(0)
    response = rng.standard_normal((3200, 2)) * 0.1 * np.exp(-np.arange(3200) / 400)[:, None]
    response[20] = 0.9
    write_wav(folder / "real_rirs_isotropic_noises" / "RVB2014_type1_rir_largeroom1_far_angla.wav", response)
    write_wav(folder / "real_rirs_isotropic_noises" / "RVB2014_type1_noise_largeroom1_1.wav", babble(16000, 5))
    write_wav(folder / "pointsource_noises" / "noise-free-sound-0000.wav", babble(16000, 6))
    for size in ("small", "medium", "large"):
        write_wav(folder / "simulated_rirs" / f"{size}room" / "Room001" / "Room001-00001.wav", response[:, 0])
    return folder


def test_manifests_by_lhotse(musan, rir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["--musan", "musan", "--rir", "RIRS_NOISES", "--out-dir", "out"])
    monkeypatch.chdir("/")  # the manifests hold absolute paths
    noise = CutSet.from_file(tmp_path / "out" / "musan_cuts.jsonl.gz")
    names = sorted(name.split("/")[1] for part in NAMES.values() for name in part)
    assert [cut.recording_id for cut in noise] == names
    assert all(cut.duration == 3.0 and cut.load_audio().shape == (1, 48000) for cut in noise)
    responses = RecordingSet.from_file(tmp_path / "out" / "rir_recordings.jsonl.gz")
    simulated = [f"{size}-Room001-00001" for size in ("large", "medium", "small")]
    assert [r.id for r in responses] == ["RVB2014_type1_rir_largeroom1_far_angla", *simulated]
    assert all(r.load_audio().shape[1] == 3200 for r in responses)


def test_errors_in_one_line(musan, rir, tmp_path, capsys):
    def refused(*options):
        with pytest.raises(SystemExit) as stopped:
            main([*map(str, options), "--out-dir", str(tmp_path / "out")])
        errors = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        assert stopped.value.code == 2 and len(errors) == 1 and not list(tmp_path.glob("out/*"))
        return errors[0]

    assert "give --out-dir, and --musan or --rir" in refused()
    assert "absent: no such folder" in refused("--musan", tmp_path / "absent")
    assert "has no .wav files in music speech noise: give the folder of" in refused("--musan", rir)
    assert "has no .wav files in real_rirs_isotropic_noises simulated_rirs: give" in refused("--rir", musan)
    (musan / "noise" / "free-sound" / "noise-free-sound-0000.wav").write_bytes(b"RIFF")
    assert "free-sound/noise-free-sound-0000.wav: damaged, or not as unpacked: prepare_musan" in refused(
        "--musan", musan
    )
    for path in (musan / "noise").rglob("*.wav"):
        path.unlink()
    assert "musan has no .wav files in noise: give" in refused("--musan", musan)
    (rir / "real_rirs_isotropic_noises" / "RVB2014_type1_rir_largeroom1_far_angla.wav").unlink()
    assert "RIRS_NOISES: lhotse finds no real_rir in it" in refused("--rir", rir)


def test_annotations_of_other_files(musan, tmp_path, capsys):
    (musan / "music" / "fma" / "ANNOTATIONS").write_text("no-such-file classical N composer\n")
    with pytest.raises(SystemExit):
        main(["--musan", str(musan), "--out-dir", str(tmp_path / "out")])
    assert "musan: damaged, or not as unpacked: prepare_musan of lhotse says" in capsys.readouterr().err


def run_recipe(folder, *options):
    """The recipe with the Python of this test, on a corpus in the folders of Mini LibriSpeech."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = f"""export PATH="{path}" PYTHONPATH="{ROOT}"
"{ROOT}/recipes/librispeech/run.sh" --environment false --dl-dir . --corpus mini --data-dir data --exp-dir exp "$@" """
    return bash(script, *options, cwd=folder)


def test_the_recipe_trains_with_noise_and_rooms(musan, rir, tmp_path):
    for number, split in enumerate(("train-clean-5", "dev-clean-2", "test-clean"), 1):
        write_corpus(tmp_path, split, speaker=number)
    (tmp_path / "tiny.yaml").write_text(
        "preset: tiny\nnum_epochs: 1\nnum_workers: 0\nmax_duration: 10\nwarmup_updates: 2\ndevice: cpu\n"
    )
    options = ["--musan", "musan", "--rir", "RIRS_NOISES", "--train-config", "tiny.yaml", "--vocab-size", "30"]
    done = run_recipe(tmp_path, *options, "--stop-stage", "5", "--avg", "1", "--num-jobs", "1")
    assert done.returncode == 0, done.stderr
    with gzip.open(tmp_path / "data" / "audio" / "cuts_train.jsonl.gz", "rt") as stream:
        cuts = [json.loads(line) for line in stream]
    assert len(cuts) == 18 and not any("features" in cut for cut in cuts)  # at three speeds
    assert not (tmp_path / "data" / "fbank").exists()
    _, state = load_newest(tmp_path / "exp")
    options_of_training = state["provenance"]["options"]
    assert options_of_training["noise_cuts"] == "data/noise/musan_cuts.jsonl.gz"
    assert options_of_training["rir_recordings"] == "data/noise/rir_recordings.jsonl.gz"
    assert (tmp_path / "exp" / "decode" / "summary-test-clean.json").is_file()


STAGES = f"""
export PATH="{Path(sys.executable).parent}:$PATH"
. "{SHARED}/asr_stages.sh"
asr_options
noise_options
parse_options --environment false --data-dir data --exp-dir exp --vocab-size 40 --speed-perturb false "$@"
train_splits=(train) dev_splits=(dev) test_splits=(test)
train_config=settings.yaml
for name in make_data make_noise_manifests make_manifests make_lang train_model; do
  eval "$name() {{ echo $name; }}"
done
make_features() {{ echo "make_features $features_dir"; }}
check_decoding() {{ :; }}
run_asr_stages
"""


def test_noise_added_later_changes_features_and_training_only(tmp_path):
    (tmp_path / "settings.yaml").write_text("num_epochs: 1\n")
    (tmp_path / "noises").mkdir()

    def ran(*options):
        return bash(STAGES, *options, "--stop-stage", "4", cwd=tmp_path).stdout.splitlines()

    stored = ["make_data", "make_manifests", "make_features data/fbank", "make_lang", "train_model"]
    assert ran() == stored
    noisy = ran("--musan", "noises")
    assert noisy == ["make_noise_manifests", "make_features data/audio", "make_lang", "train_model"]
    assert ran("--musan", "noises", "--rir", "noises") == ["make_noise_manifests", "train_model"]
    assert ran("--musan", "noises", "--rir", "noises") == []


@pytest.mark.parametrize("option", ["--musan", "--rir"])
def test_missing_folders_are_reported_before_the_stages(tmp_path, option):
    done = run_recipe(tmp_path, option, "absent", "--corpus", "synth", "--dl-dir", "")
    assert done.returncode == 2 and f"no such folder: {option} absent" in done.stderr and done.stderr.count("\n") == 1
