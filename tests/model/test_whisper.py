import os
from pathlib import Path

import numpy as np
import pytest
import torch

from hainan_k2.config import ModelConfig
from hainan_k2.formats.whisper_weights import load_whisper
from hainan_k2.frontend.audio import read_audio
from hainan_k2.frontend.log_mel import log_mel
from hainan_k2.model.hainan import Hainan
from hainan_k2.model.whisper import WhisperEncoder, sinusoids

DATA = Path(__file__).parents[1] / "data"
SMALL = dict(
    encoder="whisper",
    whisper_dim=24,
    whisper_layers=2,
    whisper_heads=2,
    d_model=16,
    num_layers=1,
    num_heads=2,
    predictor_dim=8,
    joiner_dim=8,
    vocab_size=10,
)


@pytest.fixture(scope="module")
def reference():
    """Weights, input and output of openai-whisper's AudioEncoder at a small size; and, of jfk.flac filled up to 30 s,
    every 50th frame of its log-mel and every 25th state that CTranslate2 computes with tiny.en's weights."""
    with np.load(DATA / "whisper_reference.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Hainan(ModelConfig(**SMALL)).eval()


def test_encoder_equals_the_original(reference, tmp_path):
    weights = {name[len("weights/") :]: value for name, value in reference.items() if name.startswith("weights/")}
    torch.save({"model_state_dict": weights}, tmp_path / "small.pt")
    encoder = WhisperEncoder(24, 2, 2).eval()
    load_whisper(encoder, tmp_path / "small.pt")
    with torch.no_grad():
        states, lens = encoder(reference["input"][None], torch.tensor([40]))
    assert lens.tolist() == [20]
    torch.testing.assert_close(states[0], reference["output"], atol=1e-4, rtol=1e-4)


def test_positions_are_the_original_ones(reference):
    original = reference["weights/encoder.positional_embedding"]
    torch.testing.assert_close(sinusoids(20, 24, torch.device("cpu")), original)


def jfk_mel():
    """Log-mel features of jfk.flac filled up with silence to 30 s."""
    samples = torch.from_numpy(read_audio(DATA / "jfk.flac"))
    return log_mel(torch.nn.functional.pad(samples, (0, 480000 - len(samples))))


def test_features_are_the_original_ones(reference):
    torch.testing.assert_close(jfk_mel()[:1100:50], reference["jfk_mel"], atol=1e-4, rtol=0)


@pytest.mark.skipif("WHISPER_TINY_EN" not in os.environ, reason="WHISPER_TINY_EN names no file of tiny.en's weights")
def test_states_of_a_recording_are_the_original_ones(reference):
    encoder = WhisperEncoder().eval()
    load_whisper(encoder, Path(os.environ["WHISPER_TINY_EN"]))
    with torch.no_grad():
        states, _ = encoder(jfk_mel()[None], torch.tensor([3000]))
    torch.testing.assert_close(states[0, :550:25], reference["jfk_states"], atol=1e-2, rtol=0)


@pytest.mark.parametrize("lens", [[1, 2, 40], [33, 40, 7], [8, 9, 16]])
def test_an_utterance_does_not_depend_on_its_batch(model, lens):
    torch.manual_seed(1)
    features = torch.randn(3, 40, 80)
    with torch.no_grad():
        together, out_lens = model.encoder(features, torch.tensor(lens))
        for i, n in enumerate(lens):
            alone, length = model.encoder(features[i : i + 1, :n], torch.tensor([n]))
            assert length.item() == out_lens[i].item() == -(-n // 8) == alone.shape[1]
            torch.testing.assert_close(alone[0], together[i, : length.item()], atol=1e-5, rtol=1e-5)


def test_stored_states_give_what_the_features_give(model):
    torch.manual_seed(2)
    features, lens = torch.randn(2, 40, 80), torch.tensor([40, 26])
    with torch.no_grad():
        states, state_lens = model.encoder.whisper(features, lens)
        assert state_lens.tolist() == [20, 13]
        for ours, wanted in zip(model.encoder(states, state_lens), model.encoder(features, lens)):
            torch.testing.assert_close(ours, wanted)


def test_a_frozen_encoder_gets_no_gradient(model):
    model.pretrained.requires_grad_(False)
    encoded, _ = model.encoder(torch.randn(1, 16, 80), torch.tensor([16]))
    encoded.sum().backward()
    assert all(p.grad is None for p in model.pretrained.parameters())
    assert model.encoder.project.weight.grad is not None


def test_sizes_that_cannot_be():
    with pytest.raises(ValueError, match="whisper_dim 24 is not a multiple of whisper_heads 5"):
        Hainan(ModelConfig(**{**SMALL, "whisper_heads": 5}))
    with pytest.raises(ValueError, match="num_mel_bins is 64: the Whisper encoder takes 80"):
        Hainan(ModelConfig(**SMALL, num_mel_bins=64))
    with pytest.raises(ValueError, match="encoder is 'wav2vec': choose from fastconformer, whisper"):
        ModelConfig(encoder="wav2vec")


def test_gradients_are_those_of_float64():
    """torch 1.13's GELU reads memory that was never written, which here holds large numbers."""
    torch.manual_seed(0)
    features, lens = torch.randn(2, 100, 80), torch.tensor([100, 61])
    encoder, double = WhisperEncoder(24, 1, 2), WhisperEncoder(24, 1, 2).double()
    double.load_state_dict(encoder.state_dict())
    states, _ = double(features.double(), lens)
    weights = torch.randn(states.shape)
    (states * weights.double()).sum().backward()
    for exponent in range(8, 20):
        torch.full((2**exponent,), 1e30)
    (encoder(features, lens)[0] * weights).sum().backward()
    for parameter, expected in zip(encoder.parameters(), double.parameters()):
        torch.testing.assert_close(parameter.grad.double(), expected.grad, atol=1e-4, rtol=1e-4)
