"""Tensors that are read one by one from safetensors files and PyTorch archives are those of the whole file."""

import pytest
import torch
from safetensors.torch import save_file

from hainan_k2.files.tensor_file import stored_tensors
from hainan_k2.files.tensors import Stored, deserialise, serialise
from hainan_k2.files.torch_archive import open_torch_archive


def weights():
    torch.manual_seed(0)
    base = torch.randn(4, 6)
    return {"a": base, "b": base.half(), "c": base.bfloat16(), "d": torch.arange(5), "e": torch.tensor(3.0)}


def same(stored, tensors):
    assert list(stored) == list(tensors)
    for name, value in tensors.items():
        read = stored[name].read()
        assert stored[name].shape == tuple(value.shape) and stored[name].dtype == read.dtype == value.dtype
        assert torch.equal(read, value)


def test_a_safetensors_file(tmp_path):
    save_file(weights(), tmp_path / "a.safetensors")
    stored = stored_tensors(tmp_path / "a.safetensors")
    same(dict(sorted(stored.items())), weights())
    assert torch.equal(stored["b"].to(torch.float32).read(), weights()["b"].float())
    doubled = stored["a"].map(lambda value: value[:2] * 2, (2, 6), torch.float32)
    assert torch.equal(doubled.read(), weights()["a"][:2] * 2)


def test_a_file_that_changes_while_it_is_read(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(weights(), path)
    stored = stored_tensors(path)
    save_file({"a": torch.zeros(2)}, path)
    for name, message in (("a", "a has changed while it was read"), ("b", "b cannot be read")):
        with pytest.raises(ValueError, match=f"a.safetensors: {message}"):
            stored[name].read()
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match="a.safetensors: a cannot be read"):
        stored["a"].read()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 8 + b"{}", b"\x02" + bytes(7) + b"{}x"])
def test_files_that_are_refused(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match="a: not a safetensors file") as error:
        stored_tensors(tmp_path / "a")
    assert "\n" not in str(error.value)


def test_stored_tensors_are_written_as_tensors_are():
    values = weights()
    stored = {name: Stored(tuple(v.shape), v.dtype, lambda v=v: v.clone()) for name, v in values.items()}
    content = b"".join(serialise(stored, {}))
    assert content == b"".join(serialise(values, {}))
    assert all(torch.equal(value, values[name]) for name, value in deserialise(content)[0].items())


def test_a_pytorch_archive(tmp_path):
    values = {**weights(), "view": weights()["a"].t()[1:3], "empty": torch.empty(0, 2)}
    torch.save({"state_dict": values, "more": [1, "x"]}, tmp_path / "a.ckpt")
    with open(tmp_path / "a.ckpt", "rb") as stream, open_torch_archive(stream, "a.ckpt") as state:
        same(state["state_dict"], values)
        assert state["more"] == [1, "x"]


def test_a_damaged_value_of_a_pytorch_archive(tmp_path):
    torch.save({"a": torch.full((100,), 7.0)}, tmp_path / "a.ckpt")
    content = (tmp_path / "a.ckpt").read_bytes()
    at = content.index(torch.full((4,), 7.0).numpy().tobytes())
    (tmp_path / "a.ckpt").write_bytes(content[:at] + b"\1" + content[at + 1 :])
    with open(tmp_path / "a.ckpt", "rb") as stream, open_torch_archive(stream, "a.ckpt") as state:
        with pytest.raises(ValueError, match="a.ckpt is not a readable PyTorch checkpoint: Bad CRC"):
            state["a"].read()
