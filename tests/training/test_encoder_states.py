"""States of a frozen encoder kept on disk, from the command to training on them."""

import numpy as np
import pytest
import torch
from lhotse import CutSet

from hainan_k2 import compute_features
from hainan_k2.config import ModelConfig
from hainan_k2.data.batches import EvaluationData, feature_spec
from hainan_k2.data.config import DataConfig
from hainan_k2.formats.whisper_weights import whisper_dimensions
from hainan_k2.model.hainan import Hainan
from hainan_k2.model.whisper import WhisperEncoder
from hainan_k2.training import encoder_states
from tests.data.corpus import write_cuts
from tests.formats.test_whisper_weights import ct2_file

WIDTH = 128  # two attention heads, by the size of all Whisper models


@pytest.fixture
def small(tmp_path):
    """A small encoder's weights and audio cuts."""
    torch.manual_seed(0)
    encoder = WhisperEncoder(WIDTH, 1, 2).eval()
    (tmp_path / "model.bin").write_bytes(ct2_file(encoder.state_dict()))
    (tmp_path / "manifests").mkdir()
    write_cuts(tmp_path / "audio", 5).to_file(tmp_path / "manifests" / "cuts_x.jsonl.gz")
    return tmp_path


def compute(folder):
    compute_features.main(
        [
            "--manifest-dir",
            str(folder / "manifests"),
            "--out-dir",
            str(folder / "states"),
            "--split",
            "x",
            "--encoder-weights",
            str(folder / "model.bin"),
        ]
    )
    return folder / "states" / "cuts_x.jsonl.gz"


def test_stored_states_give_the_encoder_output_of_audio(small):
    manifest = compute(small)
    config = ModelConfig(
        encoder="whisper",
        whisper_dim=WIDTH,
        whisper_layers=1,
        whisper_heads=2,
        d_model=8,
        num_layers=1,
        num_heads=2,
        predictor_dim=8,
        joiner_dim=8,
        vocab_size=10,
    )
    assert feature_spec(config, str(manifest)).kind == "states"
    audio = small / "manifests" / "cuts_x.jsonl.gz"
    assert feature_spec(config, str(audio)).kind == "log-mel"
    model = Hainan(config).eval()
    encoder_states.load_whisper(model.pretrained, small / "model.bin")
    encoded_by_name = []
    for cuts in (manifest, audio):
        (batch,) = EvaluationData(str(cuts), DataConfig(num_workers=0, num_buckets=1), config)
        with torch.no_grad():
            encoded, lens = model.encoder(batch.features, batch.lens)
        encoded_by_name.append(
            {
                name: (row[: n - 1], seconds)
                for name, row, n, seconds in zip(batch.ids, encoded, lens.tolist(), batch.seconds)
            }
        )
    assert len(encoded_by_name[0]) == 5
    for name, (row, seconds) in encoded_by_name[0].items():
        other, other_seconds = encoded_by_name[1][name]
        assert seconds == other_seconds
        n = min(len(row), len(other))  # the state that rounding leaves out may cost the last frame
        assert n >= len(other) - 1
        assert (row[:n] - other[:n]).abs().median() < 0.1  # lilcom rounds states


def test_the_dimensions_are_those_of_the_file(small):
    path = str(small / "model.bin")
    config = encoder_states.WhisperStatesConfig.of_file(path)
    assert config == encoder_states.WhisperStatesConfig(path, WIDTH, 1, 2)
    with pytest.raises(ValueError, match="lost: no such file of Whisper weights"):
        encoder_states.WhisperStatesConfig.of_file("lost")
    with pytest.raises(ValueError, match="^w: no layers or no norm_out in the encoder's weights"):
        whisper_dimensions({"norm_out.weight": torch.zeros(4)}, "w")


def test_a_killed_run_goes_on_where_it_stood(small, monkeypatch):
    from hainan_k2.data import precompute

    monkeypatch.setattr(precompute, "PART", 2)
    extracted = []
    extract = encoder_states.WhisperStates.extract

    def dies(self, samples, sampling_rate):
        extracted.append(len(samples))
        if len(extracted) == 4:
            raise KeyboardInterrupt
        return extract(self, samples, sampling_rate)

    with monkeypatch.context() as patch:
        patch.setattr(encoder_states.WhisperStates, "extract", dies)
        with pytest.raises(SystemExit):
            compute(small)
    again = []
    with monkeypatch.context() as patch:
        patch.setattr(
            encoder_states.WhisperStates,
            "extract",
            lambda self, samples, sampling_rate: again.append(1) or extract(self, samples, sampling_rate),
        )
        manifest = compute(small)
    assert len(again) == 3  # the first part of two was kept
    cuts = CutSet.from_file(manifest).to_eager()
    assert len(cuts) == 5
    for cut in cuts:
        assert cut.load_features().shape == (cut.num_frames, WIDTH)
        assert cut.num_frames == round(cut.duration / 0.02 + 1e-9)
    assert not list((small / "states").glob("*.part-*"))


def test_states_are_as_many_as_lhotse_counts():
    encoder = encoder_states.WhisperStates(encoder_states.WhisperStatesConfig("", WIDTH, 1, 2))
    encoder._encoder = WhisperEncoder(WIDTH, 1, 2).eval()
    for samples in (400, 8000, 8159, 8160, 20898, 16479, 16480):
        states = encoder.extract(np.ones(samples, np.float32), 16000)
        assert states.shape == ((samples + 160) // 320, WIDTH)
