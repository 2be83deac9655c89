"""Log-semiring totals and arc posteriors of training lattices in plain torch, for where there is no k2.

Every arc raises n = t + u: by d for a blank, by d + 1 for a token, so states of equal n depend on smaller n
only, d = 0 included, and one step per n serves the whole batch. On one n no two states of an utterance share
their u mod S (bounds never fall, so the states of a band lie on n without gaps): with S = U + 1 that slot is
u itself, and an arc leads from slot to slot (+1 for a token) whatever the bounds. Hence full and pruned
lattices run the same steps:

    forward    alpha[n] = logsumexp_k (alpha[n - lag_k] + score_k[n])     keep p_k = exp(... - alpha[n])
    backward   gamma[n] = sum_k posterior_k[n + lag_k]                    posterior_k[n] = p_k[n] * gamma[n]

p_k is the probability that a path which visits a state came by arc k, so posteriors are products and sums of
positive numbers only. Everything is float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.fsa.losses.lattice import TrainingLattice

_IMPOSSIBLE = -1e300  # stands for log 0: sums of many stay finite, so that -inf - -inf does not arise


class _Diagonals:
    """Where the arcs of a lattice lie on the diagonals n = t + u, and what one step reads.

    Arcs are stored in a (size + lag, K, B, S) array by the n and the slot they lead to, states in a
    (size, B, S) one.

    size: number of diagonals; lag: the largest rise of n by an arc, so many empty diagonals follow.
    arriving: (K * B * S,) where the sources of arriving arcs are, in the `lag` diagonals of states before n.
    leaving: (K * B * S,) where leaving arcs are, in the `lag` + 1 diagonals of arcs from n on.
    final: (B,) where the final states are.
    """

    def __init__(self, lattice: TrainingLattice):
        band, batch, device = lattice.band, lattice.frame_lens.numel(), lattice.device
        final = lattice.frame_lens + lattice.target_lens
        self.labels, self.missing = lattice.labels, (~lattice.valid).permute(3, 0, 1, 2).contiguous()
        self.lags = [d + u for d, u in zip(lattice.steps, lattice.labels)]
        self.lag, self.size = max(self.lags), int(final.max()) + 1
        self.shape = len(self.lags), batch, band
        self.states, self.arcs = batch * band, len(self.lags) * batch * band
        row = torch.arange(batch, device=device) * band
        self.final = final.to(device) * self.states + row + lattice.target_lens.to(device) % band

        n = lattice.position + torch.arange(lattice.num_frames, device=device).unsqueeze(1)
        self.slots = [  # (B, T, S) by labels advanced: where an arc without lag would be
            n * self.arcs + (lattice.position + label) % band + row.view(-1, 1, 1) for label in (0, 1)
        ]
        kinds = torch.tensor([range(len(self.lags)), self.lags, lattice.labels], device=device)
        k, lag, label = kinds.unsqueeze(-1).unsqueeze(-1)  # each (K, 1, 1)
        row, slot = row.unsqueeze(1), torch.arange(band, device=device)
        self.arriving = ((self.lag - lag) * self.states + row + (slot - label) % band).view(-1)
        self.leaving = (lag * self.arcs + k * self.states + row + (slot + label) % band).view(-1)

    def place(self, k: int) -> Tensor:
        """(B, T, S) positions of arcs of kind k; the first empty diagonal takes those that do not exist."""
        place = self.slots[self.labels[k]] + (self.lags[k] * self.arcs + k * self.states)
        return place.masked_fill_(self.missing[k], self.size * self.arcs)


def forward_backward(
    lattice: TrainingLattice, blank: Tensor, token: Tensor, duration: Tensor, need_occupancies: bool = True
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor] | None]:
    """Sum over all paths.

    Args:
      lattice: the batch's lattices.
      blank: (B, T, S) log-probability of the blank.
      token: (B, T, S) log-probability of the label that comes next.
      duration: (B, T, S, D) log-probabilities of the token steps, the last ones also of the blank steps;
        D = 0 where durations cost nothing (RNN-T).
      need_occupancies: whether to compute the second result.

    Returns:
      (B,) float64 log of the sum over paths of the exponentiated path scores, -inf where there is no path;
      and its derivatives by the three log-probabilities, float64: how often, on average, a path has that
      blank, token or duration; 0 where there is no path.
    """
    if "torch" not in lattice.cache:
        lattice.cache["torch"] = _Diagonals(lattice)
    at = lattice.cache["torch"]
    states, arcs = at.states, at.arcs  # numbers per diagonal
    flat = blank.new_full(((at.size + at.lag) * arcs,), _IMPOSSIBLE, dtype=torch.float64)
    has_durations = duration.size(-1) > 0
    for k, (label, i) in enumerate(zip(lattice.labels, lattice.durations)):
        score = (token if label else blank).double()
        flat.put_(at.place(k), score + duration[..., i] if has_durations else score)
    weight = flat.clamp_(min=_IMPOSSIBLE).view(-1, *at.shape)  # (size + lag, K, B, S)
    alpha = weight.new_full((at.lag + at.size, *at.shape[1:]), _IMPOSSIBLE)  # the first `lag` are before n = 0
    alpha[at.lag, :, 0].masked_fill_(lattice.frame_lens.to(alpha.device) > 0, 0.0)
    for n in range(1, at.size):
        before = alpha.view(-1)[n * states : (n + at.lag) * states]
        score = weight[n].add_(before.index_select(0, at.arriving).view(at.shape))
        conditional = score.log_softmax(0)
        torch.sub(score.amax(0), conditional.amax(0), out=alpha[n + at.lag])  # logsumexp in few kernels
        score.copy_(conditional)
    total = alpha[at.lag :].take(at.final)
    total = total.masked_fill(total < _IMPOSSIBLE / 2, -torch.inf)
    if not need_occupancies:
        return total, None

    weight.exp_()[at.size :] = 0.0  # nothing leads behind the last diagonal
    gamma = weight.new_zeros(at.size, *at.shape[1:])
    gamma.put_(at.final, total.gt(-torch.inf).to(gamma.dtype))
    for n in range(at.size - 1, -1, -1):
        after = flat[n * arcs : (n + at.lag + 1) * arcs]
        gamma[n].add_(after.index_select(0, at.leaving).view(at.shape).sum(0))
        weight[n].mul_(gamma[n])
    occupancies = tuple(torch.zeros_like(x, dtype=torch.float64) for x in (blank, token, duration))
    for k, (label, i) in enumerate(zip(lattice.labels, lattice.durations)):
        posterior = flat.take(at.place(k))
        occupancies[label].add_(posterior)
        if has_durations:
            occupancies[2][..., i].add_(posterior)
    return total, occupancies
