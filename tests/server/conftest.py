"""A service on a model that was never trained but talks, and short recordings."""

import numpy as np
import pytest

from hainan_k2.bench.decode import random_model
from hainan_k2.formats.model_dir import write_model
from hainan_k2.inference.window_sizes import StreamConfig, WindowConfig
from hainan_k2.search.resources import ResourceConfig
from hainan_k2.search.sweep import SearchGrid
from hainan_k2.server.service import Service
from hainan_k2.text.tokenizer import Tokenizer
from tests.data.corpus import babble
from tests.toy import make_lang


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("talker")
    tokenizer = Tokenizer(make_lang(folder))
    write_model(folder / "model", random_model("tiny", tokenizer.vocab_size, seed=1), tokenizer, "float16", {})
    return folder / "model"


def load(model, method="ar-greedy", **streams):
    streams = StreamConfig(**streams)
    return Service.load(str(model), method, SearchGrid(), ResourceConfig(), WindowConfig(), streams, "cpu")


@pytest.fixture(scope="session")
def service(model):
    return load(model)


def pcm(samples):
    """Samples in [-1, 1] as the bytes of a stream."""
    return np.round(32767 * samples).astype("<i2").tobytes()


@pytest.fixture(scope="session")
def sound():
    """1.5 s at 16 kHz."""
    return babble(24000, seed=1).astype(np.float32)
