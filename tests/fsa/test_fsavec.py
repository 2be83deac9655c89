"""FsaVecs from plain tensors, and the FSA that every arc belongs to."""

import pytest
import torch

from hainan_k2.fsa.fsavec import arc_owner, ragged_arcs

k2 = pytest.importorskip("k2")


def test_ragged_arcs_equal_k2s_own_fsas():
    """Three FSAs, of which the second is empty and the third has a state without leaving arcs."""
    texts = ["0 1 5 0\n0 2 6 0\n1 2 7 0\n2 3 -1 0\n3", None, "0 2 8 0\n2 3 -1 0\n3"]
    fsas = k2.create_fsa_vec([k2.Fsa.from_str(text or "1") for text in texts])
    num_states, leaving = torch.tensor([4, 0, 4]), torch.tensor([2, 1, 1, 0, 1, 0, 1, 0])
    arcs = [(0, 1, 5), (0, 2, 6), (1, 2, 7), (2, 3, -1), (0, 2, 8), (2, 3, -1)]
    table = torch.nn.functional.pad(torch.tensor(arcs, dtype=torch.int32), (0, 1))
    made = k2.Fsa(ragged_arcs(num_states, leaving, table))
    assert made.shape == fsas.shape and str(made) == str(fsas)
    assert arc_owner(made).tolist() == [0, 0, 0, 0, 2, 2]
