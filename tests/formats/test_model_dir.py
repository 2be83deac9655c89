"""Model directories are read as they were written; damaged, foreign or hostile files raise an error of one line."""

import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from hainan_k2.config import as_dict
from hainan_k2.formats.model_dir import FORMAT, LM, RELEASED, find_model, has_lm, read_model, read_own_lm, write_model
from hainan_k2.formats.precision import PRECISIONS, pack, unpack
from hainan_k2.fsa.language.ngram import NgramLm
from tests.formats.small_models import change, refused, small_model
from tests.oracles.lm import arpa_of

FILES = ("config.json", "provenance.json", "model.safetensors", "bpe.model", "tokens.txt")


@pytest.mark.parametrize(
    "dimensions",
    [
        {},
        {"encoder": "whisper"},
        {"encoder": "whisper", "num_layers": 0},
        {"predictor": "stateless"},
        {"predictor_layers": 2, "bias": False, "durations": (1, 2, 4)},
        {"num_layers": 3, "conv_kernel": 5},
    ],
)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_written_model_is_read_again(tokenizer, tmp_path, precision, dimensions):
    model = small_model(tokenizer.vocab_size, **dimensions)
    write_model(tmp_path / "m", model, tokenizer, precision, {"wer": 3.25})
    read, pieces, provenance = read_model(tmp_path / "m")
    assert sorted(os.listdir(tmp_path / "m")) == sorted(FILES)
    assert provenance == {"wer": 3.25} and pieces.pieces == tokenizer.pieces and not read.training
    assert as_dict(read.config) == {**as_dict(model.config), "ctc": False}
    assert read.ctc is None and read.simple_am is None and read.simple_lm is None
    old, new = model.state_dict(), read.state_dict()
    heads = {"simple_am.weight", "simple_am.bias", "simple_lm.weight", "simple_lm.bias", "ctc.weight", "ctc.bias"}
    assert set(old) - set(new) == heads
    for name, value in new.items():
        assert value.dtype == old[name].dtype
        bound = torch.zeros(())
        if precision != "float32" and value.ndim > 1:
            largest = old[name].flatten(1).abs().amax(1).view(-1, *[1] * (value.ndim - 1))
            bound = largest * {"int8": 1.0001 / 254, "float16": 2.0**-11, "bfloat16": 2.0**-8}[precision] + 2.0**-25
        assert ((value - old[name]).abs() <= bound).all(), name


def test_the_ctc_head_can_be_kept(tokenizer, tmp_path):
    model = small_model(tokenizer.vocab_size)
    write_model(tmp_path / "m", model, tokenizer, "float32", {}, ctc=True)
    read, _, _ = read_model(tmp_path / "m")
    assert torch.equal(read.ctc.weight, model.ctc.weight)


def test_int8_of_rows_of_zeros_and_of_extreme_values():
    weight = torch.tensor([[0.0, 0.0], [1.0, -1.0], [1e-30, -1e-30], [1e30, 0.0]])
    packed = pack({"w": weight, "b": torch.tensor([3.0])}, "int8")
    assert packed["w"].dtype == torch.int8 and packed["w.scale"].dtype == torch.float32
    assert packed["w"].tolist() == [[0, 0], [127, -127], [127, -127], [127, 0]]
    torch.testing.assert_close(unpack(packed)["w"], weight, rtol=1e-6, atol=0)


def test_float16_refuses_values_that_it_cannot_represent():
    with pytest.raises(ValueError, match="w has values up to 1e.05: float16"):
        pack({"w": torch.full((2, 2), 1e5)}, "float16")


@pytest.fixture
def copy(written, tmp_path):
    shutil.copytree(written / "int8", tmp_path / "m")
    return tmp_path / "m"


@pytest.mark.parametrize("name", FILES)
def test_missing_truncated_and_foreign_files(copy, name):
    whole = (copy / name).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"hello\n" * 20):
        (copy / name).write_bytes(content)
        refused(copy, name)
    (copy / name).unlink()
    refused(copy, f"{name} is missing")


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("format", FORMAT + 1, "reads format 1"),
        ("model", None, "no 'model'"),
        ("sha256", [], "no 'sha256'"),
        ("features", {"kind": "log-mel"}, "its encoder expects"),
        ("model.num_layers", 900, "does not fit config.json"),
        ("model.d_model", 2**16, "does not fit"),
        ("model.vocab_size", 41, "does not fit"),
        ("model.num_heads", 0, "num_heads is 0"),
        ("model.durations", {}, "not a list"),
        ("model.deep", 1, "no option deep"),
        ("model.num_layers", 0, "is not part of the model"),
        ("model.dropout", float("inf"), "dropout"),
        ("model.dropout", float("nan"), "dropout is nan"),
        ("model.durations", [0, 1, 10**9], "durations is 1000000000"),
        ("model.predictor", 3, "predictor is '3'"),
        ("model.ctc", 1, "ctc is 1"),
        ("model.num_layers", 10**9, "at most 1000"),
        ("model.d_model", 10**40, "d_model is a number of more than 30 digits"),
        ("model.bias", None, "bias is None"),
        ("model.encoder", "whisper", "its encoder expects"),
        ("model.joiner_dim", float("inf"), "not of type int"),
    ],
)
def test_a_config_that_does_not_fit(copy, key, value, message):
    config = json.loads((copy / "config.json").read_text())
    *outer, last = key.split(".")
    (config[outer[0]] if outer else config)[last] = value
    (copy / "config.json").write_text(json.dumps(config))
    refused(copy, message)


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("joiner.out.weight", np.zeros((3, 4), np.float32), "does not fit config.json: joiner.out.weight is"),
        ("other.weight", np.zeros(2, np.float32), "other.weight is not part of the model"),
        ("joiner.out.bias", np.full(49, np.nan, np.float32), "not finite"),
        ("joiner.out.bias", np.zeros(49, np.int64), "type torch.int64"),
        ("joiner.out.bias", np.zeros(49, np.float64), "type torch.float64"),
        ("joiner.out.weight.scale", np.zeros(2, np.float32), "a scale for every row"),
        ("joiner.out.bias", np.zeros(49, np.int8), "a scale for every row"),
        ("joiner.out.weight.scale", None, "a scale for every row"),
        ("joiner.out.bias", None, "missing"),
    ],
)
def test_weights_that_do_not_fit(copy, name, value, message):
    tensors = load((copy / "model.safetensors").read_bytes())
    assert name in tensors or "other" in name
    tensors.pop(name, None)
    change(copy, "model.safetensors", save(tensors if value is None else {**tensors, name: value}))
    refused(copy, message)


def test_another_models_tokenizer(copy, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(copy, other)
    change(other, "tokens.txt", b"<blk> 0\n")
    shutil.copy(other / "tokens.txt", copy / "tokens.txt")
    refused(copy, "tokens.txt is damaged or of another model")


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("name", FILES)
def test_a_malicious_pickle_is_refused_unexecuted(copy, tmp_path, name):
    torch.save([Attack(tmp_path / "harmed")], tmp_path / "zip")
    for content in (pickle.dumps(Attack(tmp_path / "harmed")), (tmp_path / "zip").read_bytes()):
        if name.endswith(".json"):
            (copy / name).write_bytes(content)
        elif name != "tokens.txt":  # which is for people: nothing but its hash is read
            change(copy, name, content)
        else:
            (copy / name).write_bytes(content)
        refused(copy, name)
    assert not (tmp_path / "harmed").exists()


def test_the_released_model_is_read_bit_by_bit():
    stored = load((RELEASED / "model.safetensors").read_bytes())
    weights = unpack({name: torch.from_numpy(value) for name, value in stored.items()})
    model, _, _ = read_model(RELEASED)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items()) and len(weights) > 100


def test_names(tmp_path):
    assert find_model(tmp_path) == tmp_path
    with pytest.raises(ValueError, match="nowhere: no such model directory"):
        find_model("nowhere")


@pytest.fixture
def with_lm(tokenizer, tmp_path):
    """A model directory with a language model, and that model."""
    words = [*tokenizer.pieces[1:], "</s>"]
    arpa = arpa_of({(word,): 1 / len(words) for word in words}).write(tmp_path / "lm.arpa")
    lm = NgramLm.read(arpa, tokenizer.pieces)
    write_model(tmp_path / "with-lm", small_model(tokenizer.vocab_size), tokenizer, "int8", {}, lm=lm)
    return tmp_path / "with-lm", lm


def test_a_language_model_is_part_of_the_directory(with_lm, tokenizer):
    folder, lm = with_lm
    assert sorted(os.listdir(folder)) == sorted((*FILES, LM))
    read_model(folder)
    read = read_own_lm(folder, tokenizer)
    assert has_lm(folder) and torch.equal(read.keys, lm.keys)
    torch.testing.assert_close(read.log_probs, lm.log_probs)
    write_model(folder, small_model(tokenizer.vocab_size), tokenizer, "int8", {})
    assert not has_lm(folder) and read_own_lm(folder, tokenizer) is None
    read_model(folder)


def test_another_or_a_missing_language_model_is_refused(with_lm, copy):
    folder, _ = with_lm
    content = (folder / LM).read_bytes()
    (copy / LM).write_bytes(content)
    refused(copy, f"{LM} is damaged or of another model")
    (folder / LM).write_bytes(content[:-1] + b"x")
    refused(folder, f"{LM} is damaged or of another model")
    (folder / LM).unlink()
    refused(folder, f"{LM} is missing")


def test_a_malicious_language_model_is_refused_unexecuted(with_lm, tokenizer, tmp_path):
    folder, _ = with_lm
    torch.save([Attack(tmp_path / "harmed")], tmp_path / "zip")
    for content in (pickle.dumps(Attack(tmp_path / "harmed")), (tmp_path / "zip").read_bytes()):
        change(folder, LM, content)
        with pytest.raises(ValueError, match=LM):
            read_own_lm(folder, tokenizer)
    assert not (tmp_path / "harmed").exists()
