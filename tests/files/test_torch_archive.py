"""The reader of other programs' PyTorch checkpoints: reads dicts of tensors and refuses everything else."""

import collections
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile

import pytest
import torch

from hainan_k2.files.torch_archive import read_torch_archive
from tests.hostile import Command, torchscript
from tests.toy import ROOT


def state():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    base = torch.arange(12.0)
    return {
        "dims": {"n_mels": 80, "big": 2**40, "negative": -1, "x": [1, 2.5, (True, None, "ü")]},
        "model_state_dict": network.state_dict(),
        "parameter": network[0].weight,
        "ordered": collections.OrderedDict(a=torch.zeros(2)),
        "size": torch.Size([1, 2]),
        "half": torch.randn(3, 2).half().t(),
        "bfloat16": torch.ones(2, dtype=torch.bfloat16),
        "double": torch.randn(2).double(),
        "bool": torch.tensor([True, False]),
        "empty": torch.empty(0, 4),
        "int8": torch.tensor([-1], dtype=torch.int8),
        "scalar": torch.tensor(7),
        "base": base,
        "view": base[3:9:2],
    }


def same(ours, theirs):
    if isinstance(theirs, torch.Tensor):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    elif isinstance(theirs, dict):
        assert type(ours) is dict and list(ours) == list(theirs)
        for key in theirs:
            same(ours[key], theirs[key])
    else:
        assert ours == theirs


@pytest.mark.parametrize("protocol", [2, 4])
def test_files_of_torch_save_are_read(tmp_path, protocol):
    torch.save(state(), tmp_path / "a.pt", pickle_protocol=protocol)
    read = read_torch_archive(tmp_path / "a.pt")
    same(read, state())
    with open(tmp_path / "a.pt", "rb") as stream:
        same(read_torch_archive(stream, "a stream"), state())
    read["base"][3] = -5.0
    assert read["view"][0] == -5.0  # they share memory as they did


class Reduced:
    """Pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def rebuilt(storage, offset, shape, strides):
    return Reduced(torch._utils._rebuild_tensor_v2, storage, offset, shape, strides, False, collections.OrderedDict())


def nested(depth):
    key = ()
    for _ in range(depth):
        key = (key, key)
    return {key: 1} if depth < 20 else None


STORAGE, LARGE = torch.zeros(4).storage(), torch.zeros(9999).storage()


@pytest.mark.parametrize(
    "content, message",
    [
        (Reduced(os.system, "true"), "it uses posix.system: only dicts of tensors"),
        (Reduced(eval, "1"), "it uses __builtin__.eval"),
        (Reduced(torch.from_file, "x", True, 4), "it uses"),
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        (torch.eye(2).to_sparse(), "_rebuild_sparse_tensor"),
        ({1, 2}, "set"),
        (b"bytes", "it uses _codecs.encode"),
        (torch.float32, "torch.float32"),
        ({(1, 2): 3}, "a key is a tuple"),
        (nested(10), "a key is a tuple"),
        (rebuilt(STORAGE, 0, (10**9,), (0,)), "1000000000 values, up to place 0, in a storage of 4"),
        (rebuilt(STORAGE, 1, (4,), (1,)), "4 values, up to place 4, in a storage of 4"),
        (rebuilt(STORAGE, -1, (2,), (1,)), "impossible tensor"),
        (rebuilt(STORAGE, 0, (2,), (-1,)), "impossible tensor"),
        (rebuilt(STORAGE, 0, (2, 2), (1,)), "impossible tensor"),
        (rebuilt("text", 0, (1,), (1,)), "impossible tensor"),
        (rebuilt(STORAGE, 0, ("x",), (1,)), "impossible tensor"),
        ([rebuilt(LARGE, 0, (9999,), (1,)) for _ in range(4)], "more values than the file has room for"),
        (
            Reduced(torch._utils._rebuild_parameter, "text", True, collections.OrderedDict()),
            "of an object that is not a tensor",
        ),
    ],
)
def test_other_objects_are_refused_by_name(tmp_path, content, message):
    torch.save({"a": content}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=f"^{tmp_path}/a.pt is not a readable PyTorch checkpoint.*{message}") as error:
        read_torch_archive(tmp_path / "a.pt")
    assert "\n" not in str(error.value)


def rewritten(path, change, **options):
    """The archive with {name below its folder: content} changed."""
    written = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(written, "w", **options) as changed:
        records = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
        for name, data in {**records, **change}.items():
            if data is not None:
                changed.writestr(f"archive/{name}", data)
    path.write_bytes(written.getvalue())


@pytest.mark.parametrize(
    "change, options, message",
    [
        ({}, {"compression": zipfile.ZIP_DEFLATED}, "compressed or encrypted"),
        ({"data.pkl": None}, {}, "no data.pkl"),
        ({"data.pkl": b"\x80\x02}"}, {}, "does not end|pickle exhausted"),
        ({"data.pkl": b"."}, {}, "pop from empty list"),
        ({"data.pkl": b"\x80\x02" + b"}" * 2**24}, {}, "no data.pkl of at most"),
        ({"data/0": None}, {}, "data/0"),
        ({"data/0": b"\0" * 7}, {}, "storage 0 has 7 bytes, not 4 values of torch.FloatStorage"),
        ({"byteorder": b"big"}, {}, "not little-endian"),
        ({"code/x.py": b""}, {}, "TorchScript archive"),
        ({"data.pkl": b"\x80\x02r\xff\xff\xff\xff."}, {}, "."),
        ({"data.pkl": b"\x96" + b"\xff" * 8 + b"."}, {}, "."),
    ],
)
def test_archives_that_torch_does_not_write(tmp_path, change, options, message):
    torch.save({"w": torch.zeros(4)}, tmp_path / "a.pt")
    rewritten(tmp_path / "a.pt", change, **options)
    with pytest.raises(ValueError, match=f"a.pt is not a readable PyTorch checkpoint: .*{message}"):
        read_torch_archive(tmp_path / "a.pt")


def test_other_files_and_a_flipped_bit(tmp_path):
    torch.save({"w": torch.zeros(4)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"w": torch.full((4,), 3.0)}, tmp_path / "flipped.pt")
    content = (tmp_path / "flipped.pt").read_bytes()
    at = content.index(torch.full((4,), 3.0).numpy().tobytes())
    (tmp_path / "flipped.pt").write_bytes(content[:at] + b"\x01" + content[at + 1 :])
    for name, message in (
        ("old.pt", "torch before 1.6"),
        ("text.pt", "not a zip archive"),
        ("flipped.pt", "Bad CRC-32"),
        ("none.pt", "No such file"),
    ):
        with pytest.raises(ValueError, match=f"{name}.*{message}"):
            read_torch_archive(tmp_path / name)


def test_programs_are_not_executed(tmp_path):
    torchscript(tmp_path / "script.pt", tmp_path / "harmed")
    torch.save({"a": Command(tmp_path / "harmed")}, tmp_path / "zip.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Command(tmp_path / "harmed")))
    for name, message in (
        ("script.pt", "a TorchScript archive, a program, and no program is run"),
        ("zip.pt", "it uses posix.system"),
        ("raw.pt", "it is not a zip archive"),
    ):
        with pytest.raises(ValueError, match=message):
            read_torch_archive(tmp_path / name)
    assert not (tmp_path / "harmed").exists()


def test_500_mutations(tmp_path):
    torch.save(state(), tmp_path / "a.pt")
    torch.save({"w": torch.zeros(4), "v": [1, (2, "x")]}, tmp_path / "b.pt", pickle_protocol=4)
    (tmp_path / "mutated").mkdir()
    command = [
        sys.executable,
        "-m",
        "tests.files.fuzz_torch_archives",
        tmp_path / "mutated",
        "500",
        tmp_path / "a.pt",
        tmp_path / "b.pt",
    ]
    result = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert result.returncode == 0, f"{result.returncode}: {result.stdout}{result.stderr[-2000:]}"
    assert sorted(os.listdir(tmp_path / "mutated")) == ["a.pt", "b.pt"]
    assert all(120 < count < 250 for count in json.loads(result.stdout).values()), result.stdout
