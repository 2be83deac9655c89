import pytest

from hainan_k2.formats.model_dir import write_model
from hainan_k2.formats.precision import PRECISIONS
from hainan_k2.text.tokenizer import Tokenizer
from tests.formats.small_models import small_model
from tests.toy import make_lang


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return Tokenizer(make_lang(tmp_path_factory.mktemp("lang")))


@pytest.fixture(scope="module")
def written(tokenizer, tmp_path_factory):
    """A small model of every precision."""
    folder = tmp_path_factory.mktemp("models")
    for precision in PRECISIONS:
        write_model(folder / precision, small_model(tokenizer.vocab_size), tokenizer, precision, {"commit": "abc"})
    return folder
