import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lhotse import CutSet

from hainan_k2.compute_features import main
from hainan_k2.data import precompute as module
from hainan_k2.data.config import DataConfig
from hainan_k2.data.datamodule import eval_loader
from hainan_k2.data.extractors import Fbank, FbankConfig
from hainan_k2.data.precompute import precompute
from hainan_k2.frontend.nemo_mel import nemo_mel
from hainan_k2.frontend.spec import FeatureSpec
from tests.data.corpus import write_cuts

SCRIPT = Path(__file__).parents[2] / "hainan_k2" / "compute_features.py"


@pytest.fixture
def manifests(tmp_path):
    """manifests/cuts_{train,dev}.jsonl.gz of 8 and 3 cuts."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    write_cuts(tmp_path / "train", 8).to_file(folder / "cuts_train.jsonl.gz")
    write_cuts(tmp_path / "dev", 3).to_file(folder / "cuts_dev.jsonl.gz")
    return folder


def command(manifests: Path, *options: str) -> CutSet:
    main(["--manifest-dir", str(manifests), "--out-dir", str(manifests.parent / "fbank"), *options])
    return CutSet.from_file(manifests.parent / "fbank" / "cuts_train.jsonl.gz").to_eager()


def test_features_are_those_of_the_audio_at_three_speeds(manifests):
    cuts = command(manifests, "--split", "train", "dev", "--speed-perturb", "train")
    names = [f"utt{i:03d}" for i in range(8)]
    assert sorted(cuts.ids) == sorted(name + speed for name in names for speed in ("", "_sp0.9", "_sp1.1"))
    assert list(cuts.ids) != sorted(cuts.ids)
    for cut in cuts:
        stored, computed = cut.load_features(), Fbank().extract(cut.load_audio()[0], 16000)
        assert stored.shape == computed.shape == (cut.num_frames, 80)
        assert np.abs(stored - computed).max() < 0.05
    dev = CutSet.from_file(manifests.parent / "fbank" / "cuts_dev.jsonl.gz")
    assert sorted(dev.ids) == names[:3]


def test_without_features_there_are_copies_at_three_speeds(manifests):
    cuts = command(manifests, "--split", "train", "dev", "--speed-perturb", "train", "--features", "audio")
    names = [f"utt{i:03d}" for i in range(8)]
    assert list(cuts.ids) == [name + speed for speed in ("", "_sp0.9", "_sp1.1") for name in names]
    assert not any(cut.has_features for cut in cuts)
    stored = {cut.id: cut for cut in command(manifests, "--split", "train", "--speed-perturb", "train")}
    for cut in cuts:
        assert (cut.duration, cut.supervisions[0].text) == (
            stored[cut.id].duration,
            stored[cut.id].supervisions[0].text,
        )
        assert np.array_equal(cut.load_audio(), stored[cut.id].load_audio())
    assert list(CutSet.from_file(manifests.parent / "fbank" / "cuts_dev.jsonl.gz").ids) == names[:3]


def test_features_of_sherpa_onnx_stored_or_computed_are_those_of_the_frontend(manifests):
    cuts = command(manifests, "--split", "train", "--features", "sherpa-onnx", "--num-mel-bins", "128")
    spec, config = FeatureSpec("sherpa-onnx", 128), DataConfig(num_workers=0, num_buckets=2)
    folders = {"fbank": 0.2, "manifests": 0.0}  # lilcom's steps, in bins that vary little
    for folder, tolerance in folders.items():
        loader = eval_loader(manifests.parent / folder / "cuts_train.jsonl.gz", config, spec=spec)
        found = {
            name: row[:frames]
            for batch in loader
            for name, row, frames in zip(
                batch["supervisions"]["cut_id"], batch["inputs"], batch["supervisions"]["num_frames"].tolist()
            )
        }
        assert set(found) == set(cuts.ids)
        for cut in cuts:
            expected = spec.compute(cut.load_audio()[0])
            assert found[cut.id].shape == expected.shape == ((cut.num_samples + 80) // 160, 128)
            assert (found[cut.id] - expected).abs().max() <= tolerance
    with pytest.raises(ValueError, match="of type hainan-sherpa-onnx, 128 bins; this encoder expects hainan-nemo"):
        eval_loader(manifests.parent / "fbank" / "cuts_train.jsonl.gz", config, spec=FeatureSpec("nemo"))


def test_other_rates_and_bins(tmp_path):
    write_cuts(tmp_path / "wav", 2, rate=11025).to_file(tmp_path / "cuts.jsonl.gz")
    manifest = precompute(tmp_path / "cuts.jsonl.gz", tmp_path / "out", "x", Fbank(FbankConfig(40)))
    for cut in CutSet.from_file(manifest):
        assert cut.load_features().shape == (round(100 * cut.duration), 40)
        assert cut.sampling_rate == 16000


def test_finished_features_are_not_computed_again(manifests, caplog, monkeypatch):
    first = command(manifests, "--split", "train")
    with monkeypatch.context() as patch, caplog.at_level("INFO"):
        patch.setattr(module, "perturb_speed", None)
        assert list(command(manifests, "--split", "train")) == list(first)
    assert "cuts_train.jsonl.gz: done already" in caplog.text


def test_finished_features_of_an_older_version_are_not_computed_again(manifests, caplog, monkeypatch):
    command(manifests, "--split", "train")
    marker = manifests.parent / "fbank" / "cuts_train.done"
    options = json.loads(marker.read_text())
    options["features"].update(device="cpu", backend="auto")
    marker.write_text(json.dumps(options))
    with monkeypatch.context() as patch, caplog.at_level("INFO"):
        patch.setattr(module, "perturb_speed", None)
        command(manifests, "--split", "train")
    assert "cuts_train.jsonl.gz: done already" in caplog.text


def test_features_of_other_options_or_cuts_are_computed_again(manifests):
    assert len(command(manifests, "--split", "train")) == 8
    assert len(command(manifests, "--split", "train", "--speed-perturb", "train")) == 24
    assert command(manifests, "--split", "train", "--num-mel-bins", "40")[0].num_features == 40
    write_cuts(manifests.parent / "more", 9).to_file(manifests / "cuts_train.jsonl.gz")
    assert len(command(manifests, "--split", "train")) == 9


def test_nemos_features(manifests):
    cuts = command(manifests, "--split", "train", "--features", "nemo", "--num-mel-bins", "128")
    assert cuts[0].num_features == 128 and cuts[0].features.type == "hainan-nemo"
    stored = cuts[0].features.load()
    expected = nemo_mel(torch.from_numpy(cuts[0].load_audio()[0]), 128).numpy()
    assert np.abs(stored[: len(expected)] - expected).max() < 0.02  # lilcom


def test_an_interrupted_run_is_not_taken_as_finished(manifests, monkeypatch):
    whole = command(manifests, "--split", "train")
    out = manifests.parent / "fbank"
    extract, calls = Fbank.extract, []

    def interrupted(self, samples, sampling_rate):
        calls.append(sampling_rate)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return extract(self, samples, sampling_rate)

    (out / "cuts_train.done").unlink()
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Fbank, "extract", interrupted)
        command(manifests, "--split", "train")
    assert not list(out.glob("*.jsonl.gz")) and not list(out.glob("*.done"))
    again = command(manifests, "--split", "train")
    assert list(again.ids) == list(whole.ids)
    for a, b in zip(again, whole):
        assert np.array_equal(a.load_features(), b.load_features())


def test_several_jobs_give_the_same_features_in_the_same_order(manifests):
    alone = command(manifests, "--split", "train")
    done = subprocess.run(
        [
            sys.executable,
            SCRIPT,
            "--manifest-dir",
            "manifests",
            "--out-dir",
            "fbank2",
            "--split",
            "train",
            "--num-jobs",
            "2",
        ],
        cwd=manifests.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    together = CutSet.from_file(manifests.parent / "fbank2" / "cuts_train.jsonl.gz")
    for a, b in zip(alone, together):
        assert a.id == b.id and np.array_equal(a.load_features(), b.load_features())


def test_missing_audio_is_an_error(manifests, capsys):
    (manifests.parent / "train" / "utt003.wav").unlink()
    with pytest.raises(SystemExit) as stopped:
        command(manifests, "--split", "train")
    assert stopped.value.code == 2
    assert "1 of 8 cuts in" in capsys.readouterr().err
    assert not list((manifests.parent / "fbank").glob("*.done"))


@pytest.mark.parametrize(
    "options, message",
    [
        (["--split", "train", "--speed-perturb", "dev"], "--speed-perturb dev is not among the splits"),
        (["--split", "train", "--features", "audio", "--encoder", "x"], "--features audio stores nothing"),
        (["--split", "test", "--features", "audio"], "cuts_test.jsonl.gz: no such cut manifest"),
        (["--split", "test"], "cuts_test.jsonl.gz: no such cut manifest; hainan-data"),
        (["--split", "train", "--num-mel-bins", "200"], "num_mel_bins is 200"),
    ],
)
def test_bad_options(manifests, capsys, options, message):
    with pytest.raises(SystemExit) as stopped:
        command(manifests, *options)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
