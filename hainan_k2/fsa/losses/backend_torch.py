"""Backend torch: log-semiring totals and arc posteriors of training lattices without k2.

The recursion runs along the diagonals n = t + u. A blank raises n by d and a token by d + 1, so the states of a
diagonal depend only on earlier diagonals, also where d = 0, and one step per diagonal serves the whole batch.

A diagonal stores its states at slot u mod S. Bounds never fall, so the states of a band that lie on one diagonal have
consecutive u and never share a slot. An arc leads from a slot to the same one (blank) or the next one (token), whatever
the bounds are. Full and pruned lattices therefore run the same steps:

    forward    alpha[n] = logsumexp_k (alpha[n - lag_k] + score_k[n])     keep p_k = exp(... - alpha[n])
    backward   gamma[n] = sum_k posterior_k[n + lag_k]                    posterior_k[n] = p_k[n] * gamma[n]

p_k is the probability that a path through a state arrives by arc k, so posteriors are products and sums of positive
numbers. All numbers are float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.fsa.losses.lattice import TrainingLattice

_IMPOSSIBLE = -1e300  # log 0, but finite, also summed many times: -inf - -inf would be nan


class _Diagonals:
    """A lattice on the diagonals n = t + u: flat indices of its arcs and states.

    Arcs are stored as (size + lag, K, B, S), by diagonal and slot of their target; states as (size, B, S).

    size: number of diagonals. lag: the largest rise of n by an arc; `lag` empty diagonals follow the last one.
    arriving: (K * B * S,) indices of the sources of arriving arcs, within the `lag` diagonals of states before n.
    leaving: (K * B * S,) indices of leaving arcs, within the `lag` + 1 diagonals of arcs from n on.
    final: (B,) indices of the final states.
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
        self.slots = [  # two (B, T, S), for 0 and 1 label: the index that an arc of lag 0 would have
            n * self.arcs + (lattice.position + label) % band + row.view(-1, 1, 1) for label in (0, 1)
        ]
        kinds = torch.tensor([range(len(self.lags)), self.lags, lattice.labels], device=device)
        k, lag, label = kinds.unsqueeze(-1).unsqueeze(-1)  # each (K, 1, 1)
        row, slot = row.unsqueeze(1), torch.arange(band, device=device)
        self.arriving = ((self.lag - lag) * self.states + row + (slot - label) % band).view(-1)
        self.leaving = (lag * self.arcs + k * self.states + row + (slot + label) % band).view(-1)

    def arc_indices(self, k: int) -> Tensor:
        """(B, T, S) indices of the arcs k; those that do not exist point to the first empty diagonal."""
        indices = self.slots[self.labels[k]] + (self.lags[k] * self.arcs + k * self.states)
        return indices.masked_fill_(self.missing[k], self.size * self.arcs)


def forward_backward(
    lattice: TrainingLattice, blank: Tensor, token: Tensor, duration: Tensor, need_occupancies: bool = True
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor] | None]:
    """Sum over all paths.

    Args:
      lattice: the batch's lattices.
      blank: (B, T, S) log-probability of the blank.
      token: (B, T, S) log-probability of the next label.
      duration: (B, T, S, D) log-probabilities of the token steps; the last ones are also those of the blank steps.
        D = 0 where durations have no score (RNN-T).
      need_occupancies: whether to compute the second result.

    Returns:
      (B,) float64 log of the summed path probabilities, -inf where there is no path; and its derivatives with respect
      to blank, token and duration, float64: the expected number of times that a path takes them, 0 where there is no
      path.
    """
    if "torch" not in lattice.cache:
        lattice.cache["torch"] = _Diagonals(lattice)
    at: _Diagonals = lattice.cache["torch"]
    states, arcs = at.states, at.arcs  # per diagonal
    flat = blank.new_full(((at.size + at.lag) * arcs,), _IMPOSSIBLE, dtype=torch.float64)
    has_durations = duration.size(-1) > 0
    for k, (label, i) in enumerate(zip(lattice.labels, lattice.durations)):
        score = (token if label else blank).double()
        flat.put_(at.arc_indices(k), score + duration[..., i] if has_durations else score)
    weight = flat.clamp_(min=_IMPOSSIBLE).view(-1, *at.shape)  # (size + lag, K, B, S)
    alpha = weight.new_full((at.lag + at.size, *at.shape[1:]), _IMPOSSIBLE)  # `lag` empty ones before n = 0
    alpha[at.lag, :, 0].masked_fill_(lattice.frame_lens.to(alpha.device) > 0, 0.0)
    for n in range(1, at.size):
        before = alpha.view(-1)[n * states : (n + at.lag) * states]
        score = weight[n].add_(before.index_select(0, at.arriving).view(at.shape))
        conditional = score.log_softmax(0)
        torch.sub(score.amax(0), conditional.amax(0), out=alpha[n + at.lag])  # a logsumexp in fewer kernels
        score.copy_(conditional)
    total = alpha[at.lag :].take(at.final)
    total = total.masked_fill(total < _IMPOSSIBLE / 2, -torch.inf)
    if not need_occupancies:
        return total, None

    weight.exp_()[at.size :] = 0.0  # no arc leads beyond the last diagonal
    gamma = weight.new_zeros(at.size, *at.shape[1:])
    gamma.put_(at.final, total.gt(-torch.inf).to(gamma.dtype))
    for n in range(at.size - 1, -1, -1):
        after = flat[n * arcs : (n + at.lag + 1) * arcs]
        gamma[n].add_(after.index_select(0, at.leaving).view(at.shape).sum(0))
        weight[n].mul_(gamma[n])
    blanks, tokens, steps = (torch.zeros_like(x, dtype=torch.float64) for x in (blank, token, duration))
    for k, (label, i) in enumerate(zip(lattice.labels, lattice.durations)):
        posterior = flat.take(at.arc_indices(k))
        (tokens if label else blanks).add_(posterior)
        if has_durations:
            steps[..., i].add_(posterior)
    return total, (blanks, tokens, steps)
