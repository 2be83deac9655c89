import subprocess
import sys

import numpy as np
import pytest
import torch

from hainan_k2.config import ModelConfig
from hainan_k2.frontend.fbank import fbank
from hainan_k2.frontend.log_mel import log_mel
from hainan_k2.frontend.normalise import normalise
from hainan_k2.frontend.spec import FeatureSpec
from tests.data.corpus import babble

SAMPLES = torch.from_numpy(babble(8000, seed=1).astype(np.float32))


def test_filter_banks_are_normalised_and_log_mel_features_are_not():
    assert torch.equal(FeatureSpec().compute(SAMPLES), normalise(fbank(SAMPLES)))
    assert torch.equal(FeatureSpec("fbank", 40).compute(SAMPLES.numpy()[None]), normalise(fbank(SAMPLES, 40)))
    assert torch.equal(FeatureSpec("log-mel").compute(SAMPLES), log_mel(SAMPLES))


def test_the_features_of_each_encoder():
    assert FeatureSpec.of_model(ModelConfig(num_mel_bins=40)) == FeatureSpec("fbank", 40)
    assert FeatureSpec.of_model(ModelConfig.preset("whisper-tiny")) == FeatureSpec("log-mel", 80)
    assert FeatureSpec.of_model(ModelConfig(features="nemo", num_mel_bins=128)) == FeatureSpec("nemo", 128)
    assert FeatureSpec.of_model(ModelConfig(features="sherpa-onnx")) == FeatureSpec("sherpa-onnx", 80)
    others = ModelConfig(features="nemo", nemo_window="hamming", nemo_preemphasis=0.5, nemo_normalise=False)
    assert FeatureSpec.of_model(others) == FeatureSpec("nemo", 80, "hamming", 0.5, False)


def test_what_a_model_directory_states():
    assert FeatureSpec().as_dict() == {"kind": "fbank", "num_mel_bins": 80, "sampling_rate": 16000}
    assert FeatureSpec("nemo", 128, "hamming").as_dict() == {
        "kind": "nemo",
        "num_mel_bins": 128,
        "sampling_rate": 16000,
        "window": "hamming",
        "preemphasis": 0.97,
        "n_fft": 512,
        "log_guard": 2.0**-24,
        "normalise": "per_feature",
    }
    assert FeatureSpec("sherpa-onnx", 128).as_dict() == {
        "kind": "sherpa-onnx",
        "num_mel_bins": 128,
        "sampling_rate": 16000,
        "window": "povey",
        "preemphasis": 0.97,
        "n_fft": 512,
        "log_guard": 2.0**-24,
        "normalise": "per_feature",
        "highest_frequency": 7600.0,
    }


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: FeatureSpec("mfcc"),
            "no features of kind 'mfcc'; there are fbank, log-mel, nemo, sherpa-onnx, states",
        ),
        (lambda: FeatureSpec("log-mel", 40), "num_mel_bins is 40: log-mel features have 80"),
        (lambda: FeatureSpec("states", 384).compute(SAMPLES), "encoder states are not computed from audio"),
        (lambda: FeatureSpec().compute(SAMPLES[:399]), "at least 400 samples"),
        (lambda: FeatureSpec("nemo", 0), "num_mel_bins is 0: NeMo's features have 1 to 256"),
        (lambda: FeatureSpec("sherpa-onnx", 189), "num_mel_bins is 189: sherpa-onnx's features have 3 to 188"),
        (lambda: FeatureSpec("sherpa-onnx", 2), "num_mel_bins is 2: sherpa-onnx's features have 3 to 188"),
        (lambda: FeatureSpec("nemo", window="bartlett"), "window is 'bartlett': NeMo's features have hann or hamming"),
        (lambda: ModelConfig(features="log-mel"), "a fastconformer encoder takes auto, fbank, nemo, sherpa-onnx"),
        (lambda: ModelConfig(encoder="whisper", features="nemo"), "a whisper encoder takes auto, log-mel"),
        (lambda: FeatureSpec(num_bins=2).compute(SAMPLES), "num_mel_bins is 2"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_frontend_files_and_formats_load_neither_lhotse_nor_scipy_signal():
    code = """
import sys
import hainan_k2.files.container, hainan_k2.files.jsonl, hainan_k2.files.torch_archive
import hainan_k2.frontend.audio, hainan_k2.frontend.spec, hainan_k2.data.batch, hainan_k2.data.config
import hainan_k2.formats.average, hainan_k2.formats.checkpoint, hainan_k2.formats.model_dir
import hainan_k2.formats.nemo, hainan_k2.formats.whisper_weights
print(*({"lhotse", "scipy.signal", "k2", "matplotlib", "hainan_k2.training"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
