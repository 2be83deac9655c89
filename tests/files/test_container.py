"""Containers: contents are read as written, safetensors reads them too, and every changed bit is detected."""

import hashlib
import json
import os
import random

import pytest
import torch
from safetensors.torch import load_file, save

from hainan_k2.files.container import Kind, is_container, read_container, write_container
from hainan_k2.files.tensors import TYPES, deserialise, serialise

POEM = Kind("poem", "`a poet`")
FACTS = {"lines": ["größer", 'sha256":"', "\ud800"], "number": 1e-3, "none": None, "deep": [{"yes": True}]}


def everything():
    torch.manual_seed(0)
    tensors = {f"of {code}": (torch.randn(3, 5) * 40).to(kind) for code, kind in TYPES.items()}
    return {
        **tensors,
        "scalar": torch.tensor(7),
        "none": torch.empty(0, 3),
        "turned": torch.randn(4, 3).t(),
        "expanded": torch.ones(1).expand(6),
        "leaf": torch.ones(2, requires_grad=True),
        "one": torch.zeros(2, 4)[:1, 0],
        'sha256":"': torch.zeros(1),
        "part": torch.arange(10)[3:7:2],
    }


@pytest.fixture
def path(tmp_path):
    write_container(tmp_path / "a.safetensors", POEM, everything(), FACTS)
    return tmp_path / "a.safetensors"


def test_all_types_and_shapes_are_read_again(path):
    tensors, facts = read_container(path, POEM)
    assert facts == FACTS and set(tensors) == set(everything())
    for name, value in everything().items():
        assert tensors[name].dtype == value.dtype and torch.equal(tensors[name], value), name
    tensors["of F32"][0, 0] = 1  # memory of its own


def test_the_safetensors_library_and_this_reader_read_each_others_files(path):
    for name, value in load_file(path).items():
        assert value.dtype == everything()[name].dtype and torch.equal(value, everything()[name]), name
    theirs = {name: value.contiguous().clone() for name, value in everything().items()}
    ours, metadata = deserialise(save(theirs, {"a": "b"}))
    assert metadata == {"a": "b"} and all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_every_flipped_bit_and_every_truncation_is_detected(tmp_path):
    write_container(tmp_path / "a", POEM, {"w": torch.arange(6).float(), "yes": torch.tensor([True])}, {"x": [1]})
    whole = (tmp_path / "a").read_bytes()
    changed = [
        whole[: i // 8] + bytes([whole[i // 8] ^ 1 << i % 8]) + whole[i // 8 + 1 :] for i in range(8 * len(whole))
    ]
    changed += [whole[:i] for i in range(len(whole))] + [whole + b" ", whole + whole]
    for content in changed:
        (tmp_path / "b").write_bytes(content)
        with pytest.raises(ValueError, match=f"^{tmp_path}/b ") as error:
            read_container(tmp_path / "b", POEM)
        assert "\n" not in str(error.value)


def sealed(content):
    """The data with a matching checksum, as an attacker could make it."""
    at = content.index(b'"sha256":"') + 10
    blank = content[:at] + b"0" * 64 + content[at + 64 :]
    return content[:at] + hashlib.sha256(blank).hexdigest().encode() + content[at + 64 :]


def test_mutations_with_a_fitting_checksum_are_read_or_refused(tmp_path):
    write_container(tmp_path / "a", POEM, {"w": torch.arange(6).float(), "yes": torch.tensor([True])}, {"x": [1]})
    whole, rng, refused = (tmp_path / "a").read_bytes(), random.Random(3), 0
    assert sealed(whole) == whole
    for _ in range(500):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(len(content))] = rng.choice((0, 34, 48, 57, 91, 123, 125, 255))
        if content.count(b'"sha256":"') != 1:
            continue
        (tmp_path / "b").write_bytes(sealed(bytes(content)))
        try:
            read_container(tmp_path / "b", POEM)
        except ValueError as error:
            refused += 1
            assert str(tmp_path / "b") in str(error) and "\n" not in str(error)
    assert 100 < refused < 500


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kind": "novel"}, "b holds a novel, not a poem"),
        ({"format": "hainan_k2 9"}, "format 'hainan_k2 9'; this version of hainan_k2 reads 'hainan_k2 1': make it"),
        ({"facts": "[1]"}, "its facts are not a JSON object"),
        ({"facts": "["}, "cannot be read as a poem: "),
        ({"facts": "[" * 100000}, "cannot be read as a poem: "),
    ],
)
def test_intact_files_of_other_contents(tmp_path, change, message):
    metadata = {"format": "hainan_k2 1", "kind": "poem", "sha256": "0" * 64, "facts": "{}", **change}
    (tmp_path / "b").write_bytes(sealed(b"".join(serialise({"w": torch.zeros(2)}, metadata))))
    with pytest.raises(ValueError, match=message) as error:
        read_container(tmp_path / "b", POEM)
    assert "\n" not in str(error.value)


def test_files_of_other_programs_are_recognised(tmp_path):
    torch.save({"w": torch.zeros(2)}, tmp_path / "torch.pt")
    (tmp_path / "theirs").write_bytes(save({"w": torch.zeros(2)}))
    (tmp_path / "text").write_text("hello")
    for name, message in (
        (
            "torch.pt",
            "zip archive, of an older version of hainan_k2, of torch or of another program; make it again with "
            "`a poet`",
        ),
        ("theirs", "holds tensors of another program, not a poem of `a poet`"),
        ("text", "damaged, or of another program than `a poet`"),
        ("none", "No such file"),
    ):
        with pytest.raises(ValueError, match=f"{name}.*{message}"):
            read_container(tmp_path / name, POEM)
    assert is_container((tmp_path / "torch.pt").read_bytes()) and is_container((tmp_path / "theirs").read_bytes())
    assert not is_container(b"sentence: $digit{1,2}") and not is_container(b"")


def test_tensors_of_impossible_sizes(tmp_path):
    for entry in (
        {"shape": [2**40], "data_offsets": [0, 8]},
        {"shape": [2], "data_offsets": [0, 2**50]},
        {"shape": [2**33, 2**33], "data_offsets": [0, 8]},
        {"shape": [0, 2**64 - 1], "data_offsets": [0, 0]},
    ):
        header = json.dumps({"w": {"dtype": "F32", **entry}}).encode()
        with pytest.raises(ValueError, match="not a safetensors file|impossible shape"):
            deserialise(len(header).to_bytes(8, "little") + header + bytes(8))


def test_invalid_contents_leave_no_file(tmp_path):
    for tensors, facts, error in (
        ({"s": torch.eye(2).to_sparse()}, {}, ValueError),
        ({}, {"x": object()}, TypeError),
        ({"c": torch.zeros(2, dtype=torch.complex64)}, {}, ValueError),
    ):
        with pytest.raises(error):
            write_container(tmp_path / "a", POEM, tensors, facts)
    assert os.listdir(tmp_path) == []
