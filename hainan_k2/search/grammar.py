"""Decoding within a closed grammar: the best path of the encoder-only lattice, composed exactly with the grammar.

The lattice keeps every token of the grammar at every frame, and no other; so nothing that the grammar allows is ever
pruned. The score is the path's weight, that of the grammar included; a confidence is a posterior among what the grammar
allows.

How far an utterance is from the grammar is told by the best path without it, of viterbi: the model's log-probability of
that path less that of the best path in the grammar, per frame. An utterance where this is above `grammar_threshold`,
or that no path in the grammar fits, bears a note; with `grammar_fallback` its result is that of viterbi.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from hainan_k2.fsa.language.grammar import Grammar
from hainan_k2.fsa.lattices.composition import compose, path_outputs, path_sums
from hainan_k2.fsa.lattices.nar_lattice import nar_lattice
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, shortest_path
from hainan_k2.result import Hypothesis
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources
from hainan_k2.search.viterbi import viterbi

GROUP_ARCS = 2**22  # in k2 at once, unless a single utterance has more: about 700 MB
OUTSIDE = "outside the grammar"
FALLBACK = "outside the grammar: viterbi instead"


@torch.no_grad()
def grammar(
    model, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """The best paths of encoder_out (B, T, C), lens (B,) in `resources.grammar`.

    An utterance without any path in the grammar has no tokens and a score of -infinity. ValueError where the grammar is
    too large to be composed with an utterance.
    """
    free = viterbi(model, encoder_out, lens, options)
    found: list[Hypothesis] = []
    for rows in _groups(lens.tolist(), resources.grammar, len(model.durations)):
        longest = max(1, int(lens[rows].max()))
        found += _judged(model, encoder_out[rows, :longest], lens[rows], options, resources.grammar, free[rows])
    return found


def _groups(lens: list[int], allowed: Grammar, num_durations: int) -> Iterator[slice]:
    """Neighbouring utterances that can be composed at once."""
    states, arcs = allowed.num_states, len(allowed.arcs)
    start, total = 0, 0
    for i, length in enumerate(lens):
        size = length * (states * (1 + num_durations) + arcs) + arcs  # an upper bound of what `compose` counts
        if i > start and total + size > GROUP_ARCS:
            yield slice(start, i)
            start, total = i, 0
        total += size
    yield slice(start, len(lens))


def _judged(
    model, encoder_out: Tensor, lens: Tensor, options: SearchConfig, allowed: Grammar, free: list[Hypothesis]
) -> list[Hypothesis]:
    """The same for a batch that can be composed at once; `free` are the hypotheses of viterbi."""
    log_probs = model.joiner.log_probs(model.joiner.project_encoder(encoder_out), None)
    lattice = nar_lattice(
        *log_probs,
        lens,
        model.durations,
        duration_scale=options.duration_scale,
        blank_penalty=options.blank_penalty,
        token_bonus=options.token_bonus,
        vocabulary=allowed.tokens(),
    )
    composed = compose(lattice, allowed)
    best = shortest_path(composed)
    hypotheses = hypotheses_from_lattice(best, lens, composed)
    if allowed.transduces:
        outputs = path_outputs(best, allowed.outputs)
        hypotheses = [replace(h, output=output) for h, output in zip(hypotheses, outputs)]
    own = path_sums(best, best.grammar_score).tolist()
    return [_noted(*each, options) for each in zip(hypotheses, free, own)]


def _noted(inside: Hypothesis, free: Hypothesis, own: float, options: SearchConfig) -> Hypothesis:
    """The result of an utterance; `own` is the grammar's part of the score of `inside`."""
    gap = (free.score - inside.score + own) / max(1, inside.num_frames)
    if gap <= options.grammar_threshold:
        return inside
    reason = "no path in it fits" if gap == torch.inf else f"its best path is {gap:.2f} nats per frame below viterbi's"
    if options.grammar_fallback:
        return replace(free, note=f"{FALLBACK} ({reason})")
    return replace(inside, note=f"{OUTSIDE} ({reason})")
