"""Model directories of a small model, and ways to damage them."""

import hashlib
import json

import pytest
import torch

from hainan_k2.config import ModelConfig
from hainan_k2.formats.model_dir import read_model
from hainan_k2.model.hainan import Hainan

SMALL = dict(
    d_model=8,
    num_heads=2,
    num_layers=1,
    subsampling_channels=2,
    predictor_dim=4,
    joiner_dim=4,
    whisper_dim=4,
    whisper_heads=2,
    whisper_layers=1,
)


def small_model(vocab_size, **dimensions):
    torch.manual_seed(0)
    return Hainan(ModelConfig(**{**SMALL, "vocab_size": vocab_size, **dimensions})).eval()


def change(folder, name, content):
    """Replace a file and its hash in config.json, as an attacker could."""
    (folder / name).write_bytes(content)
    config = json.loads((folder / "config.json").read_text())
    config["sha256"][name] = hashlib.sha256(content).hexdigest()
    (folder / "config.json").write_text(json.dumps(config))


def refused(folder, message):
    with pytest.raises(ValueError, match=message) as error:
        read_model(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
