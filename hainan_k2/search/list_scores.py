"""Scores of n-best lists by the model: with the predictor (AR), without it (NAR), and by the CTC head.

All are log-probabilities of a text over all its alignments. The texts of an utterance are scored together, as a prefix
tree (hainan_k2.fsa.losses.prefix_tree): the predictor runs once for every distinct prefix. NAR scores come first: they
cost one joint evaluation per frame. Their posteriors choose the states for which the AR joint is computed:

    band   all (t, n) with a posterior of at least exp(-beam) by NAR, and `MARGIN` frames around each of them

A state outside the band counts as impossible, so that the AR score is a lower bound; with an infinite beam it is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.losses.logprobs import accumulation_dtype
from hainan_k2.fsa.losses.prefix_tree import PrefixTree, TreeLattice, TreeScores
from hainan_k2.model.hainan import Hainan

BEAM = 10.0  # nats: loses 0.00 nats on dev, see recipes/amazon_queen/RESULTS.md
MARGIN = 1  # frames
_NUMBERS = 1 << 24  # of a lattice at a time: 128 MB
_STATES = 1 << 12  # of the joint at a time


class ListScores:
    """The scores of N texts of a batch.

    nar, ar: (N,) float64, natural log; -inf for a text without an alignment. In an utterance without frames the empty
    text has score 0 and any other -inf.

    Args:
      projected: (B, T, J) projected encoder frames; lens: (B,) frames of every utterance.
      utterance, texts: of the N texts: the utterance (N,) int64, ascending, and its token ids.
      beam: nats; how unlikely by NAR the states are that AR leaves out.
    """

    def __init__(
        self,
        model: Hainan,
        projected: Tensor,
        lens: Tensor,
        utterance: Tensor,
        texts: Sequence[Sequence[int]],
        beam: float = BEAM,
    ) -> None:
        self.model, self.projected, self.lens = model, projected, lens
        empty = torch.tensor([not len(text) for text in texts], dtype=torch.bool, device=lens.device)
        self.nar = torch.where(empty, 0.0, -torch.inf).to(torch.float64)
        self.ar = self.nar.clone()
        owners = utterance.tolist()
        for rows in _parts(owners, texts, lens.tolist(), len(model.durations)):
            tree = PrefixTree.of([owners[n] for n in rows], [texts[n] for n in rows], lens.device)
            index = torch.tensor(rows, device=lens.device)
            self.nar[index], band = self._without_predictor(tree, beam)
            self.ar[index] = self._with_predictor(tree, band)

    def _without_predictor(self, tree: PrefixTree, beam: float) -> tuple[Tensor, Tensor]:
        """NAR scores (N,) of the texts of a tree, and the band (T, M) bool."""
        lens = self.lens[tree.utterance]
        tokens, durations = self.model.joiner.log_probs(self.projected[:, : int(lens.max())], None)
        by_frame, frame_durations = tokens.transpose(0, 1), durations.transpose(0, 1)  # (T, B, V), (T, B, D)
        scores = TreeScores(
            by_frame[:, tree.utterance, BLANK],
            by_frame[:, tree.utterance, tree.token],
            frame_durations[:, tree.utterance],
        )
        lattice = TreeLattice(tree, self.lens, self.model.durations, scores)
        totals = lattice.totals()
        inside = torch.arange(len(scores.blank), device=lens.device)[:, None] < lens
        if math.isinf(beam):
            return totals, inside
        likely = (lattice.occupancy() >= math.exp(-beam)).to(torch.float32)
        near = torch.nn.functional.max_pool1d(likely.T[None], 2 * MARGIN + 1, 1, MARGIN)[0].T > 0
        return totals, near & inside

    def _with_predictor(self, tree: PrefixTree, band: Tensor) -> Tensor:
        """AR scores (N,) of the texts of a tree, over the alignments inside the band (T, M)."""
        predicted = self.model.joiner.project_predictor(run_predictor(self.model, tree, self.projected.dtype))
        dtype = accumulation_dtype(self.projected.dtype)
        blank = torch.full(band.shape, -torch.inf, dtype=dtype, device=band.device)
        token, duration = blank.clone(), blank.new_full((*band.shape, len(self.model.durations)), -torch.inf)
        number = torch.empty(band.shape, dtype=torch.int64, device=band.device)  # row of a state among its block's
        for frames in _blocks(band):
            t, n = band[frames].nonzero().unbind(1)
            hidden = self.projected[tree.utterance[n], t + frames.start]
            logits = self.model.joiner.logits(hidden, predicted[n]).to(dtype)
            logits, lengths = logits.split([self.model.vocab_size, len(self.model.durations)], dim=1)
            total = logits.logsumexp(1)
            blank[t + frames.start, n] = logits[:, BLANK] - total
            duration[t + frames.start, n] = lengths.log_softmax(1)
            number[t + frames.start, n] = torch.arange(len(t), device=t.device)
            t, child = (band[frames][:, tree.parent] & (tree.depth > 0)).nonzero().unbind(1)
            row = number[t + frames.start, tree.parent[child]]
            token[t + frames.start, child] = logits[row, tree.token[child]] - total[row]
        return TreeLattice(tree, self.lens, self.model.durations, TreeScores(blank, token, duration)).totals()


def run_predictor(model: Hainan, tree: PrefixTree, dtype: torch.dtype) -> Tensor:
    """The predictor's outputs (M, H) after every prefix of a tree, level by level: prefixes share the states of theirs.

    `dtype` is that of the encoder output.
    """
    roots = tree.levels[0]
    sos = torch.zeros(1, dtype=torch.int64, device=tree.token.device)
    output, state = model.predictor.step(sos, model.predictor.initial_state(1, sos.device, dtype))
    outputs = [output.expand(roots, -1)]
    state = tuple(part.expand(roots, *part.shape[1:]) for part in state)
    first = 0  # of the level before
    for depth, size in enumerate(tree.levels[1:]):
        begin = first + tree.levels[depth]
        above = tree.parent[begin : begin + size] - first
        output, state = model.predictor.step(tree.token[begin : begin + size], tuple(part[above] for part in state))
        outputs.append(output)
        first = begin
    return torch.cat(outputs)


def ctc_scores(
    model: Hainan, encoder_out: Tensor, lens: Tensor, utterance: Tensor, texts: Sequence[Sequence[int]]
) -> Tensor:
    """log P_CTC (N,) float64 of N texts, each of an utterance (N,) of encoder_out (B, T, C), lens (B,); -inf for a text
    that the frames cannot spell. Raises ValueError for a model without a CTC head."""
    scores = torch.full((len(texts),), -torch.inf, dtype=torch.float64, device=lens.device)
    log_probs = model.ctc_log_probs(encoder_out).double()
    for b in utterance.unique().tolist():
        rows = (utterance == b).nonzero()[:, 0]
        listed, length = [texts[n] for n in rows.tolist()], int(lens[b])
        if not length:
            scores[rows] = scores.new_tensor([-torch.inf if text else 0.0 for text in listed])
            continue
        used = sorted({token for text in listed for token in text})  # a list uses few of the V tokens
        place = {token: column for column, token in enumerate(used, 1)}
        columns = log_probs[b, :length, [BLANK, *used]]
        targets = torch.tensor([place[token] for text in listed for token in text], device=lens.device)
        sizes = torch.tensor([len(text) for text in listed], device=lens.device)
        frames = torch.full_like(sizes, length)
        expanded = columns[:, None].expand(-1, len(listed), -1)
        scores[rows] = -torch.nn.functional.ctc_loss(expanded, targets.long(), frames, sizes, reduction="none")
    return scores


def _parts(
    owners: Sequence[int], texts: Sequence[Sequence[int]], lens: Sequence[int], num_durations: int
) -> Iterator[list[int]]:
    """The rows of the texts of utterances with frames, in parts whose lattices have at most 2^24 arcs, or one
    utterance."""
    rows: list[int] = []
    longest = size = 0
    of_utterance: dict[int, list[int]] = {}
    for n, owner in enumerate(owners):
        if lens[owner]:
            of_utterance.setdefault(owner, []).append(n)
    for owner, listed in sorted(of_utterance.items(), key=lambda item: lens[item[0]]):
        tokens = [len(texts[n]) for n in listed]
        diagonals, nodes = lens[owner] + max(tokens) + 1, sum(tokens) + 1
        if rows and max(longest, diagonals) * (size + nodes) * 2 * num_durations > _NUMBERS:
            yield rows
            rows, longest, size = [], 0, 0
        rows, longest, size = rows + listed, max(longest, diagonals), size + nodes
    if rows:
        yield rows


def _blocks(band: Tensor) -> Iterator[slice]:
    """Slices of frames with at most 2^12 states of the band (T, M) each, or a single frame."""
    first = states = 0
    for t, count in enumerate(band.sum(1).tolist()):
        if states and states + count > _STATES:
            yield slice(first, t)
            first, states = t, 0
        states += count
    yield slice(first, len(band))
