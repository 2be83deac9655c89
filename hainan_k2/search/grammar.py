"""Search in a closed grammar: the best path of the encoder-only lattice composed with the grammar, without pruning.

The lattice has all tokens of the grammar at every frame, and no others. The score is the path's weight, including the
weight of the grammar. A confidence is a posterior among the paths that the grammar allows.

Rejection. The gap of an utterance is how much the score of its best path without grammar (viterbi) exceeds that of its
best path in the grammar, without the grammar's own weights, per token of the former: what the speech loses, per token
that it has, by being forced into the grammar. An utterance is outside if the gap is above `grammar_threshold`, or if no
path in the grammar fits. Its result then has no text and a note, or is that of viterbi with `grammar_fallback`.
`hainan-bench rejection` measures the gaps of recordings inside and outside, and finds the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from hainan_k2.fsa.k2 import Fsa
from hainan_k2.fsa.language.grammar import Grammar
from hainan_k2.fsa.lattices.composition import compose, path_outputs, path_sums
from hainan_k2.fsa.lattices.nar_lattice import nar_lattice
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, shortest_path
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources
from hainan_k2.search.viterbi import viterbi

GROUP_ARCS = 2**22  # arcs composed at once, unless a single utterance has more: about 700 MB
OUTSIDE = "outside the grammar"


@torch.no_grad()
def grammar(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources = NO_RESOURCES
) -> list[Hypothesis]:
    """The best paths of encoder_out (B, T, C), lens (B,) in `resources.grammar`.

    An utterance without any path in the grammar has no tokens and a score of -infinity. Raises ValueError where there
    is no `resources.grammar`, or it is too large to be composed with an utterance.
    """
    allowed: Grammar = resources.require("grammar")
    searched = _search(model, encoder_out, lens, options, allowed)
    return [note_outside(*utterance, options, "viterbi") for utterance in searched]


@torch.no_grad()
def grammar_gaps(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, allowed: Grammar
) -> list[float]:
    """The gaps of encoder_out (B, T, C), lens (B,), which `grammar` compares with the threshold: nats per token."""
    return [grammar_gap(*utterance) for utterance in _search(model, encoder_out, lens, options, allowed)]


Searched = tuple[Hypothesis, Hypothesis, float]  # in the grammar, without it, and the grammar's part of the score


def _search(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, allowed: Grammar
) -> list[Searched]:
    unrestricted = viterbi(model, encoder_out, lens, options)
    searched: list[Searched] = []
    for rows in _groups(lens.tolist(), allowed, len(model.durations)):
        longest = max(1, int(lens[rows].max()))
        part = encoder_out[rows, :longest], lens[rows]
        searched += _search_group(model, *part, options, allowed, unrestricted[rows])
    return searched


def _groups(lens: list[int], allowed: Grammar, num_durations: int) -> Iterator[slice]:
    """Ranges of consecutive utterances that are composed at once."""
    states, arcs = allowed.num_states, len(allowed.arcs)
    start, total = 0, 0
    for i, length in enumerate(lens):
        size = length * (states * (1 + num_durations) + arcs) + arcs  # an upper bound of what `compose` counts
        if i > start and total + size > GROUP_ARCS:
            yield slice(start, i)
            start, total = i, 0
        total += size
    yield slice(start, len(lens))


def _search_group(
    model: Hainan,
    encoder_out: Tensor,
    lens: Tensor,
    options: SearchConfig,
    allowed: Grammar,
    unrestricted: list[Hypothesis],
) -> list[Searched]:
    """`_search` for utterances that are composed at once; `unrestricted` are their hypotheses by viterbi."""
    composed = grammar_lattice(model, model.joiner.project_encoder(encoder_out), lens, options, allowed)
    best = shortest_path(composed)
    hypotheses = hypotheses_from_lattice(best, lens, composed)
    if allowed.transduces:
        outputs = path_outputs(best, allowed.outputs)
        hypotheses = [replace(h, output=output) for h, output in zip(hypotheses, outputs)]
    grammar_scores = path_sums(best, best.lm_scores).tolist()
    return list(zip(hypotheses, unrestricted, grammar_scores))


def grammar_lattice(model: Hainan, projected: Tensor, lens: Tensor, options: SearchConfig, allowed: Grammar) -> Fsa:
    """The lattices of projected encoder frames (B, T, J), lens (B,), composed with the grammar: a k2.FsaVec.

    Raises ValueError for one that needs too many arcs, as `compose`.
    """
    token_log_probs, duration_log_probs = model.joiner.log_probs(projected, None)
    lattice = nar_lattice(
        token_log_probs,
        duration_log_probs,
        lens,
        model.durations,
        duration_scale=options.duration_scale,
        blank_penalty=options.blank_penalty,
        token_bonus=options.token_bonus,
        vocabulary=allowed.tokens(),
        skip_scale=options.skip_scale,
    )
    return compose(lattice, allowed)


def grammar_gap(inside: Hypothesis, unrestricted: Hypothesis, grammar_score: float) -> float:
    """The gap of an utterance in nats per token, as in the module's docstring; infinite if no path fits.

    Args:
      unrestricted: the hypothesis without grammar.
      grammar_score: the grammar's part of inside.score.
    """
    return (unrestricted.score - inside.score + grammar_score) / max(1, len(unrestricted.tokens))


def note_outside(
    inside: Hypothesis, unrestricted: Hypothesis, grammar_score: float, options: SearchConfig, method: str
) -> Hypothesis:
    """`inside`, or what replaces it, with a note, if the utterance is outside the grammar.

    unrestricted: the hypothesis without grammar, by `method`; grammar_score: the grammar's part of inside.score.
    """
    gap = grammar_gap(inside, unrestricted, grammar_score)
    if gap <= options.grammar_threshold:
        return inside
    reason = "no path in it fits" if gap == math.inf else f"its best path is {gap:.2f} nats per token below {method}'s"
    if options.grammar_fallback:
        return replace(unrestricted, note=f"{OUTSIDE}: {method} instead ({reason})")
    return replace(inside, tokens=(), output=None, alternatives=(), note=f"{OUTSIDE} ({reason})")
