"""Files of k2: `k2.Fsa.from_dict(torch.load(f))` loads ours, and we read k2's without executing anything."""

import copyreg

import pytest
import torch
from hypothesis import given, settings

from hainan_k2 import load_lattice, nar_lattice, save_lattice
from hainan_k2.files.pickle_machine import Ragged
from hainan_k2.fsa.k2_file import read_k2, write_k2
from tests.fsa.lattices.test_archive import outputs_lattice
from tests.fsa.lattices.test_nar_lattice import problems

k2 = pytest.importorskip("k2")


def same(one, other):
    assert one.shape == other.shape and torch.equal(one.arcs.values(), other.arcs.values())
    for name, value in other.named_tensor_attr(include_scores=False):
        theirs = getattr(one, name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(theirs, value)
        else:
            assert theirs.tolist() == value.tolist()


@settings(max_examples=25, deadline=None)
@given(problems(max_frames=5))
def test_lattices_are_loaded_by_k2_and_by_us(tmp_path_factory, problem):
    path, lattice = tmp_path_factory.mktemp("k2") / "l.pt", nar_lattice(*problem)
    given = [f"utt{i}" for i in range(len(problem[2]))]
    save_lattice(lattice, path, given)
    theirs = k2.Fsa.from_dict(torch.load(str(path)))
    ours, names = load_lattice(path)
    assert theirs.names == " ".join(given) and names == given and ours.frame_filler == -1
    same(theirs, lattice)
    same(ours, lattice)


@pytest.mark.parametrize("ragged", [False, True])
def test_outputs_of_any_number(tmp_path, ragged):
    lattice, _ = outputs_lattice(ragged)
    save_lattice(lattice, tmp_path / "l.pt")
    same(k2.Fsa.from_dict(torch.load(str(tmp_path / "l.pt"))), lattice)
    ours, names = load_lattice(tmp_path / "l.pt")
    same(ours, lattice)
    assert names == ["0", "1"] and isinstance(read_k2(tmp_path / "l.pt").attributes["aux_labels"], Ragged) == ragged


def test_one_fsa_and_what_cannot_be_kept(tmp_path):
    fsa = k2.Fsa.from_str("0 1 3 7 -0.5\n1 2 -1 -1 0\n2\n", acceptor=False)
    fsa.aux_labels_sym = k2.SymbolTable.from_str("a 7\n")  # a Python object: a file with it could only be unpickled
    fsa.scores.requires_grad_(True)
    write_k2(tmp_path / "f.pt", fsa)
    file = read_k2(tmp_path / "f.pt")
    assert not file.is_vec and file.num_states.tolist() == [3] and file.leaving.tolist() == [1, 1, 0]
    assert file.scores.tolist() == [-0.5, 0.0] and file.attributes["aux_labels"].tolist() == [7, -1]
    same(k2.Fsa.from_dict(torch.load(str(tmp_path / "f.pt"))), fsa)
    lattice, names = load_lattice(tmp_path / "f.pt")
    assert lattice.shape[0] == 1 and names == ["0"]


ARCS = torch.tensor([[0, 1, 5, 0], [1, 2, -1, 0]], dtype=torch.int32)
VEC = torch.tensor([1, 0, 0, 3, 0, 2, *ARCS.flatten().tolist()], dtype=torch.int32)
NAN = torch.tensor([float("nan")]).view(torch.int32).item()


def changed(place, value, tensor=ARCS):
    copy = tensor.clone()
    copy[place] = value
    return copy


@pytest.mark.parametrize(
    "content, message",
    [
        ([1], "holds no k2.Fsa"),
        ({"arcs": 1}, "holds no k2.Fsa"),
        ({"arcs": ARCS.long()}, "its arcs are torch.int64, not int32"),
        ({"arcs": ARCS[:, :3]}, r"its arcs have the shape \(2, 3\)"),
        ({"arcs": VEC[:3]}, r"its arcs have the shape \(3,\)"),
        ({"arcs": VEC[:-1]}, "7 values are not the arcs of 1 FSAs"),
        ({"arcs": changed(0, 99, VEC)}, r"its arcs have the shape \(14,\)"),
        ({"arcs": changed(3, -3, VEC)}, "8 values are not the arcs of 1 FSAs"),
        ({"arcs": changed(3, 2**30, VEC)}, "8 values are not the arcs of 1 FSAs"),
        ({"arcs": changed((0, 1), 4)}, "label -1 elsewhere than on the arcs into a final state"),
        ({"arcs": changed((0, 1), 2**31 - 1)}, "2 arcs cannot connect 2147483648 states"),
        ({"arcs": changed((0, 0), -1)}, "an arc from or to a state that does not exist"),
        ({"arcs": changed((0, 2), -1)}, "label -1 elsewhere than on the arcs into a final state"),
        ({"arcs": changed((0, 3), NAN)}, "a score that is not a number"),
        ({"arcs": ARCS[[1, 0]]}, "sources that are not in order"),
        ({"arcs": ARCS, "aux_labels": torch.zeros(3)}, "attribute aux_labels has 3 values for 2 arcs"),
        ({"arcs": ARCS, "aux_labels": k2.RaggedTensor([[1]])}, "attribute aux_labels has 1 values for 2 arcs"),
        ({"arcs": ARCS, "aux_labels": k2.RaggedTensor([[[1]], [[2]]])}, "is ragged, and its rows are not lists"),
        ({"arcs": ARCS, "aux_labels": k2.RaggedTensor([[0.5], [1]])}, "is ragged and of torch.float32, not int32"),
        ({"arcs": ARCS, "x": k2.SymbolTable()}, "is not a readable PyTorch checkpoint: it uses k2.symbol_table"),
    ],
)
def test_broken_files(tmp_path, content, message):
    torch.save(content, str(tmp_path / "f.pt"))
    with pytest.raises(ValueError, match=message) as caught:
        read_k2(tmp_path / "f.pt")
    assert str(caught.value).startswith(str(tmp_path / "f.pt")) and "\n" not in str(caught.value)


class Damaged:
    """Pickled as a ragged tensor with a state of our choice."""

    def __init__(self, state):
        self.state = state

    __class__ = property(lambda self: k2.RaggedTensor)  # for pickle, which compares it

    def __reduce_ex__(self, protocol):
        return copyreg.__newobj__, (k2.RaggedTensor,), self.state


@pytest.mark.parametrize(
    "state",
    [(1, "row_ids1", 2), ("row_ids1",), (torch.zeros(1),), {"a": 1}, (torch.zeros(1, 2), "row_ids1", torch.zeros(1))],
)
def test_damaged_ragged_tensors(tmp_path, state):
    torch.save({"arcs": ARCS, "aux_labels": Damaged(state)}, str(tmp_path / "f.pt"))
    with pytest.raises(ValueError, match="its data.pkl describes an impossible ragged tensor"):
        read_k2(tmp_path / "f.pt")


def test_a_ragged_tensor_without_its_rows(tmp_path):
    torch.save({"arcs": ARCS, "aux_labels": Damaged(None)}, str(tmp_path / "f.pt"))
    with pytest.raises(ValueError, match="attribute aux_labels is ragged, and its rows are not lists of its 0 values"):
        read_k2(tmp_path / "f.pt")


def test_lattices_must_be_sorted(tmp_path):
    write_k2(tmp_path / "f.pt", k2.Fsa.from_str("0 0 1 0\n0 1 -1 0\n1\n"))
    with pytest.raises(ValueError, match="holds arcs that do not lead to later states"):
        load_lattice(tmp_path / "f.pt")
    save_lattice(outputs_lattice(True)[0], tmp_path / "l.pt")
    content = torch.load(str(tmp_path / "l.pt"))
    torch.save({**content, "names": "a"}, str(tmp_path / "l.pt"))
    with pytest.raises(ValueError, match="has 1 names for 2 lattices"):
        load_lattice(tmp_path / "l.pt")
