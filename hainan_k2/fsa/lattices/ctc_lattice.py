"""CTC lattices composed with language models or hotwords, pruned.

    states   (t, q, l): frame t = 0 ... T, LM state q, label l of the frame before, 0 for blank; and a final state
    start    (0, start of the LM, 0)
    final    one state of its own, the last
    arcs     (t, q, l) -- v : log P(v | t) + LM(v | q) -->      (t + 1, q after v, v)      a token v other than l
             (t, q, l) -- epsilon : log P(l | t) -->            (t + 1, q, l)              l goes on
             (t, q, l) -- epsilon : log P(blank | t) -->        (t + 1, q, 0)
             (T, q, l) -- -1 : LM(</s> | q) -->                 (final)

A token thus has its language model score once, however many frames its label lasts. The lattice is found by the search
of hainan_k2.fsa.lattices.lm_search: its tables hold the labels of every frame, all of duration 1, and its scorer is
`CtcScorer`, the language model as an automaton over labels.

The attribute `duration` is 1 on arcs of a token or of its repetition and -1 elsewhere: `run_lengths` adds them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.language.scorers import Scorer, WeightedScorers
from hainan_k2.fsa.lattices.arcs import Arcs
from hainan_k2.fsa.lattices.lm_lattice import assemble
from hainan_k2.fsa.lattices.lm_search import compose_pruned, survivors
from hainan_k2.fsa.lattices.nar_lattice import Tables


class CtcScorer(WeightedScorers):
    """Language models over tokens as one automaton over CTC labels; tokens keep their ids, blank is `vocab_size`.

    A state (q, l) is the number q * vocab_size + l. Blank has another label than in the rest of the package because
    lm_search lets label 0 leave the state as it is, and here blank resets l.
    """

    def __init__(
        self, scorers: Sequence[tuple[Scorer, float]], device: torch.device, vocab_size: int, token_bonus: float
    ):
        self.lm, self.vocab_size, self.token_bonus = WeightedScorers(scorers, device), vocab_size, token_bonus
        self.scorers, self.device = self.lm.scorers, device
        self.start, self.num_states = self.lm.start * vocab_size, self.lm.num_states * vocab_size

    def last(self, states: Tensor) -> Tensor:
        """The labels l of states (N,)."""
        return states % self.vocab_size

    def advance(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        lm_states, last = torch.div(states, self.vocab_size, rounding_mode="floor"), self.last(states)
        blank = tokens == self.vocab_size
        (new,) = (~blank & (tokens != last)).nonzero(as_tuple=True)
        scores = torch.zeros_like(states, dtype=torch.float64)
        after = torch.where(blank, lm_states * self.vocab_size, states)
        of_new, lm_after = self.lm.advance(lm_states[new], tokens[new])
        scores[new], after[new] = of_new + self.token_bonus, lm_after * self.vocab_size + tokens[new]
        return scores, after

    def final(self, states: Tensor) -> Tensor:
        return self.lm.final(torch.div(states, self.vocab_size, rounding_mode="floor"))

    def refundable(self, states: Tensor) -> Tensor:
        return self.lm.refundable(torch.div(states, self.vocab_size, rounding_mode="floor"))

    @property
    def refunds(self) -> bool:
        return self.lm.refunds


def ctc_lm_arcs(
    log_probs: Tensor,
    frame_lens: Tensor,
    scorers: Sequence[tuple[Scorer, float]],
    top_k: int = 8,
    beam: float = 8.0,
    max_active: int = 32,
    blank_penalty: float = 0.0,
    token_bonus: float = 0.0,
) -> Arcs:
    """The arcs of the module's docstring that are on paths at most `beam` worse than the best.

    Args:
      log_probs: (B, T, V) of the CTC head, natural log, blank = 0.
      frame_lens: (B,) number of frames of every utterance; later frames are never read.
      scorers: (automaton, weight) pairs, as for lm_lattice.
      top_k: number of labels kept on every frame, beside blank.
      beam, max_active: as for lm_lattice.
      blank_penalty: subtracted from the score of every blank.
      token_bonus: added to the score of every token, once.
    Returns:
      Arcs of B lattices; `lm_score` has the scores of the automata and the bonus.
    """
    vocab_size = log_probs.shape[2]
    scorer = CtcScorer(scorers, log_probs.device, vocab_size, token_bonus)
    tables = _tables(log_probs, frame_lens.to(log_probs.device, torch.int64), top_k, blank_penalty)
    composition = compose_pruned(tables, scorer, beam, max_active)
    arcs, emission = assemble(tables, composition, *survivors(composition, beam))
    inner = (emission >= 0).nonzero()[:, 0]
    source, raw = composition.source[emission[inner]], tables.labels.take(composition.slot[emission[inner]])
    repeated, blank = raw == scorer.last(composition.state[source]), raw == vocab_size
    label = arcs.label.index_copy(0, inner, torch.where(blank | repeated, BLANK, raw))
    duration = torch.full_like(label, -1).index_copy(0, inner, torch.where(blank, -1, 1))
    return replace(arcs, label=label, duration=duration)


def _tables(log_probs: Tensor, lens: Tensor, top_k: int, blank_penalty: float) -> Tables:
    """The labels of every frame, blank as V, with a single duration of 1 that costs nothing."""
    vocab_size = log_probs.shape[2]
    valid = torch.arange(log_probs.shape[1], device=lens.device) < lens[:, None]
    frames, time = log_probs[valid], valid.nonzero()[:, 1]
    scores, tokens = frames[:, 1:].topk(min(top_k, vocab_size - 1), dim=-1)
    labels = torch.cat([torch.full_like(tokens[:, :1], vocab_size), tokens + 1], dim=1)
    scores = torch.cat([frames[:, :1] - blank_penalty, scores], dim=1)
    one = torch.ones(1, dtype=torch.int64, device=lens.device)
    return Tables(lens, one, time, labels, scores, torch.zeros_like(scores[:, :1]), time[:, None] + 1)


def run_lengths(label: Tensor, duration: Tensor) -> Tensor:
    """Frames (P,) of every token on paths of P arcs, -1 elsewhere: the token and its repetitions."""
    run = ((label > BLANK) | (duration < 0)).cumsum(0)
    return torch.where(label > BLANK, torch.bincount(run)[run].to(duration.dtype), -1)
