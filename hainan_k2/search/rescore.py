"""Rescoring: the most probable texts of lattices with language model, ordered by a weighted sum of scores.

    (1 - ar_weight) * NAR + ar_weight * AR + lm_weight * LM + ctc_weight * CTC + length_bonus * tokens + hotwords

NAR, AR and CTC are log-probabilities of a text over all its alignments: without the predictor, with it
(hainan_k2.search.list_scores), and by the CTC head. LM is the log-probability of its tokens as a sentence. Without a
language model, or for a model without a CTC head, the sum has no such term.

The list is that of viterbi-lm's lattice and, with `lattice` "ar", also that of the AR lattice of ar-beam; it depends on
their options (`lm_scale`, `token_bonus`, `beam`, ...). Without a language model it is that of the plain lattices. From
each lattice come the texts with the best alignments; their times and confidences are those in the lattice.
`hainan-tune` finds the weights on a development set.

Where the language model allows no path of an utterance, its list is that of the lattice without, with a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search.biasing import scaled_hotwords
from hainan_k2.search.list_scores import ctc_scores
from hainan_k2.search.list_search import ListSearch
from hainan_k2.search.methods import RESCORING
from hainan_k2.search.nbest import Candidates
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import DecodingResources
from hainan_k2.search.viterbi_lm import NO_PATH

Scores = dict[str, Tensor]  # by term: (N,) float64, of N texts


@dataclass(frozen=True)
class ScoredLists:
    """The n-best lists, from one lattice, of some utterances of a batch, `rows`, with the scores of their texts."""

    rows: list[int]
    candidates: Candidates
    terms: Scores
    note: str = ""


@torch.no_grad()
def scored_lists(
    model: Hainan, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources
) -> list[ScoredLists]:
    """The lists of encoder_out (B, T, C), lens (B,), from every lattice."""
    resources = resources.to(encoder_out.device)
    lattices = ("nar", "ar") if options.lattice == "ar" else ("nar",)
    return [part for name in lattices for part in _of_lattice(name, model, encoder_out, lens, options, resources)]


def _of_lattice(
    lattice: str,
    model: Hainan,
    encoder_out: Tensor,
    lens: Tensor,
    options: SearchConfig,
    resources: DecodingResources,
) -> list[ScoredLists]:
    """The lists from one lattice; those of utterances that the language model allows no path come last."""

    def make(rows: list[int], given: DecodingResources) -> Candidates:
        part = encoder_out if len(rows) == len(lens) else encoder_out[rows, : max(int(lens[b]) for b in rows)]
        return Candidates(model, part, lens[rows], options, given, lattice, composed=True)

    rows, lists = list(range(len(lens))), []
    candidates = make(rows, resources)
    listed = set(candidates.utterance.tolist())
    pathless = [b for b in rows if b not in listed] if resources.lm is not None else []
    if pathless:
        rows = sorted(listed)
        candidates = make(rows, resources) if rows else candidates
    if rows:
        lists.append(ScoredLists(rows, candidates, term_scores(candidates, options, resources)))
    if pathless:
        without_lm = replace(resources, lm=None, lodr_lm=None)
        candidates = make(pathless, without_lm)
        lists.append(ScoredLists(pathless, candidates, term_scores(candidates, options, without_lm), NO_PATH))
    return lists


def term_scores(candidates: Candidates, options: SearchConfig, resources: DecodingResources) -> Scores:
    """The scores of every text, before they are weighted. A further model would be a further term."""
    texts, scored = candidates.texts, candidates.by_model
    device = candidates.utterance.device
    lengths = torch.tensor([len(text) for text in texts], dtype=torch.float64, device=device)
    terms = {"nar": scored.nar, "ar": scored.ar, "length": lengths}
    if resources.lm is not None:
        terms["lm"] = resources.lm.score(texts)
    if candidates.model.ctc is not None:
        terms["ctc"] = ctc_scores(
            candidates.model, candidates.encoder_out, candidates.lens, candidates.utterance, texts
        )
    hotwords = scaled_hotwords(resources, options, device)
    if hotwords is not None:
        terms["hotwords"] = hotwords.score(texts)
    return terms


def term_weights(options: SearchConfig) -> dict[str, float]:
    """The weight of every term."""
    return {
        "nar": 1.0 - options.ar_weight,
        "ar": options.ar_weight,
        "lm": options.lm_weight,
        "ctc": options.ctc_weight,
        "length": options.length_bonus,
        "hotwords": 1.0,
    }


def weighted_sum(terms: Scores, weights: dict[str, float]) -> Tensor:
    """(N,) sum of the terms. One of weight 0 is left out: it may be -inf."""
    total = torch.zeros_like(terms["length"])
    for name, scores in terms.items():
        if weights[name]:
            total = total + weights[name] * scores
    return total


class RescoreSearch(ListSearch):
    """The search function of the method `rescore`."""

    orders_by = RESCORING

    def search(
        self,
        model: Hainan,
        encoder_out: Tensor,
        lens: Tensor,
        points: Sequence[SearchConfig],
        resources: DecodingResources,
    ) -> list[list[Hypothesis]]:
        lists = scored_lists(model, encoder_out, lens, points[0], resources)
        return [self._best(lists, point, len(lens)) for point in points]

    def _best(self, lists: Sequence[ScoredLists], options: SearchConfig, count: int) -> list[Hypothesis]:
        found: list[list[Hypothesis]] = [[] for _ in range(count)]
        for part in lists:
            scores = weighted_sum(part.terms, term_weights(options))
            for b, hypothesis in zip(part.rows, part.candidates.hypotheses(scores, scores, options.nbest)):
                notes = [note for note in (part.note, hypothesis.note) if note]
                found[b].append(replace(hypothesis, note="; ".join(notes)))
        return [_join(of_lattices, options.nbest) for of_lattices in found]


def _join(hypotheses: Sequence[Hypothesis], count: int) -> Hypothesis:
    """The best hypothesis of an utterance from several lattices, with the `count` best of all of them as alternatives.

    Those without a note come first: the others have been searched or ordered in another way.
    """
    first = [hypothesis for hypothesis in hypotheses if not hypothesis.note] or list(hypotheses)
    if len(first) == 1:
        return first[0]
    by_text: dict[tuple[int, ...], Hypothesis] = {}
    for hypothesis in first:
        for listed in hypothesis.alternatives or (hypothesis,):
            by_text.setdefault(listed.ids, listed)
    ordered = sorted(by_text.values(), key=lambda hypothesis: -hypothesis.score)[:count]
    return replace(ordered[0], alternatives=tuple(ordered) if count > 1 else ())


rescore = RescoreSearch()
