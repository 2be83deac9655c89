"""Backend k2: log-semiring totals and arc posteriors of training lattices by k2's forward-backward.

States are numbered frame by frame, by s within a frame, with the final state last. Every arc leads to a larger number,
so the FsaVec is topologically sorted as built. k2 stores arc scores in float32. The totals are corrected for that
rounding to first order: the derivative of a total with respect to an arc's score is the arc's posterior.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.fsa.fsavec import ragged_arcs
from hainan_k2.fsa.k2 import RaggedArc, load_k2
from hainan_k2.fsa.losses.lattice import TrainingLattice

_MAX_ARCS = 2**31 - 1  # k2 counts arcs in int32


def _build(lattice: TrainingLattice) -> RaggedArc:
    """The lattices as k2 arcs with score 0, in the order of the true elements of `lattice.valid`."""
    device, (_, frames, band, _) = lattice.device, lattice.valid.shape
    lens, width = lattice.frame_lens.to(device), lattice.widths.to(device)
    t = torch.arange(frames, device=device).view(-1, 1, 1)
    s = torch.arange(band, device=device).view(-1, 1)
    end = lattice.arrival == lens.view(-1, 1, 1, 1)  # (B, T, 1, K)
    w = width.view(-1, 1, 1, 1)
    columns = (
        t * w + s,
        lattice.arrival * w + lattice.target.masked_fill(end, 0),
        torch.tensor(lattice.labels, device=device).masked_fill(end, -1),
        torch.zeros(1, device=device),
    )
    index = lattice.valid.view(-1).nonzero().squeeze(1)
    num_arcs = index.numel()
    arcs = torch.empty(num_arcs, 4, dtype=torch.int32, device=device)
    for i, column in enumerate(columns):
        arcs[:, i] = column.to(torch.int32).expand_as(lattice.valid).reshape(-1).index_select(0, index)

    num_states = (lens * width + 1).masked_fill(lens == 0, 0)  # (B,)
    exists = (t.view(-1, 1) < lens.view(-1, 1, 1)) & (s.view(-1) < width.view(-1, 1, 1))  # (B, T, S)
    leaving = torch.zeros(int(num_states.sum()), dtype=torch.int64, device=device)
    first = (num_states.cumsum(0) - num_states).view(-1, 1, 1)
    state = first + t.view(-1, 1) * width.view(-1, 1, 1) + s.view(-1)
    leaving[state.masked_select(exists)] = lattice.valid.sum(-1).masked_select(exists)
    return ragged_arcs(num_states, leaving, arcs)


def _arc_scores(lattice: TrainingLattice, blank: Tensor, token: Tensor, duration: Tensor) -> Tensor:
    """(B, T, S, K) float64 arc scores; to be ignored where `lattice.valid` is false."""
    kinds = (blank, lattice.num_blanks), (token, len(lattice.steps) - lattice.num_blanks)
    if duration.size(-1) == 0:
        return torch.cat([x.double().unsqueeze(-1).expand(*x.shape, k) for x, k in kinds], -1)
    duration = duration.double()
    return torch.cat([duration[..., duration.size(-1) - k :] + x.unsqueeze(-1) for x, k in kinds], -1)


def forward_backward(
    lattice: TrainingLattice, blank: Tensor, token: Tensor, duration: Tensor, need_occupancies: bool = True
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor] | None]:
    """Sum over all paths; arguments and results as for hainan_k2.fsa.losses.backend_torch.forward_backward.

    Raises:
      ValueError: if there are more arcs than k2 can count.
    """
    k2 = load_k2()
    if lattice.num_arcs > _MAX_ARCS:
        batch, frames, band, kinds = lattice.valid.shape
        raise ValueError(
            f"the lattices have up to {lattice.num_arcs} arcs (B={batch}, T={frames}, {band} label positions "
            f"of {kinds} arcs), k2 counts to {_MAX_ARCS}: use smaller batches, the pruned loss or "
            "backend='torch'"
        )
    if "k2" not in lattice.cache:
        lattice.cache["k2"] = _build(lattice)
    fsas = k2.Fsa(lattice.cache["k2"])  # not cached: k2 stores results in it that are larger than the arcs
    scores = _arc_scores(lattice, blank, token, duration)
    rounded = scores.masked_select(lattice.valid).float().requires_grad_()
    with torch.enable_grad():
        fsas.scores = rounded
        total = fsas.get_tot_scores(use_double_scores=True, log_semiring=True)
        (derivative,) = torch.autograd.grad(total.sum(), rounded)
    total = total.detach()
    posterior = torch.zeros_like(scores).masked_scatter_(lattice.valid, derivative.double())
    posterior.masked_fill_(total.isneginf().view(-1, 1, 1, 1), 0.0)  # k2 returns nan where there is no path
    lost = (scores - scores.float()).masked_fill_(posterior == 0, 0.0)
    total = total + lost.mul_(posterior).sum((1, 2, 3))
    if not need_occupancies:
        return total, None
    blanks, tokens = posterior[..., : lattice.num_blanks], posterior[..., lattice.num_blanks :]
    occupancies = blanks.sum(-1), tokens.sum(-1), tokens[..., : duration.size(-1)]
    occupancies[2][..., duration.size(-1) - lattice.num_blanks :] += blanks[..., : duration.size(-1)]
    return total, occupancies
