"""Every function that takes a lattice refuses those on which k2 would abort or return wrong results."""

import inspect

import pytest
import torch

import hainan_k2
from tests.fsa.lattices.test_nar_lattice import tables

k2 = pytest.importorskip("k2")

LENS = torch.tensor([3, 2])
GRAMMAR = "0 1 1 0\n1 2 -1 0\n2"
FUNCTIONS = {
    "shortest_path": lambda lattice, path: hainan_k2.shortest_path(lattice),
    "compose": lambda lattice, path: hainan_k2.compose(lattice, k2.Fsa.from_str(GRAMMAR)),
    "draw_lattice": lambda lattice, path: hainan_k2.draw_lattice(lattice, path, "abcdef"),
    "best_texts": lambda lattice, path: hainan_k2.best_texts(lattice, 1),
    "text_scores": lambda lattice, path: hainan_k2.text_scores(lattice, torch.tensor([0]), [[1]]),
    "hypotheses_from_lattice": lambda lattice, path: hainan_k2.hypotheses_from_lattice(lattice, LENS),
    "save_lattice": lambda lattice, path: hainan_k2.save_lattice(lattice, path),
}


def make():
    return hainan_k2.nar_lattice(*tables(5, LENS.tolist(), 4, (0, 1, 3)), LENS, (0, 1, 3))


def unsorted():
    fsa = k2.Fsa.from_str("0 2 1 0\n1 3 -1 0\n2 1 2 0\n3")
    fsa.frame = fsa.duration = torch.zeros(3, dtype=torch.int32)
    return k2.create_fsa_vec([fsa, fsa])


def cyclic():
    return k2.create_fsa_vec([k2.Fsa.from_str("0 0 1 0\n0 1 -1 0\n1")])


def test_these_are_all_public_functions_that_take_a_lattice():
    takes_lattice = {
        name
        for name in hainan_k2.fsa.__all__
        if {"lattice", "best"} & set(inspect.signature(getattr(hainan_k2.fsa, name)).parameters)
    }
    assert takes_lattice == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "lattice, message",
    [
        (lambda: make()[0], "is a single FSA: make an FsaVec of it by k2.create_fsa_vec"),
        (unsorted, "is not topologically sorted, or has cycles: k2.top_sort"),
        (cyclic, "is not topologically sorted, or has cycles: k2.top_sort"),
        (lambda: torch.zeros(3), "is of type Tensor: a k2.Fsa is needed"),
    ],
)
def test_other_arguments_are_refused(tmp_path, name, lattice, message):
    FUNCTIONS[name](make(), tmp_path / "good.txt")
    with pytest.raises(ValueError, match=message):
        FUNCTIONS[name](lattice(), tmp_path / "bad.txt")


def test_hypotheses_of_other_batch_sizes():
    lattice = make()
    best = hainan_k2.shortest_path(lattice)
    with pytest.raises(ValueError, match="frame_lens must hold 2 integers"):
        hainan_k2.hypotheses_from_lattice(best, torch.tensor([3, 2, 1]), lattice)
    with pytest.raises(ValueError, match="2 best paths of 1 lattices"):
        hainan_k2.hypotheses_from_lattice(best, LENS, k2.create_fsa_vec([lattice[0]]))
    with pytest.raises(ValueError, match="the lattice is a single FSA"):
        hainan_k2.hypotheses_from_lattice(best, LENS, lattice[0])
