"""N-best search: a list of the most probable texts of a lattice, reordered by another score.

The lattice is the encoder-only one or, with `--lattice ar`, that of the beam search with the predictor.

All methods make the same list: the `num_paths` texts with the most probable alignments. The total of a text is its
log-probability over all its alignments in the lattice. Its times are those of its best alignment, and the confidence of
a token is its posterior in the lattice. The list is ordered by

    nbest        total
    nbest-lm     total + lm_scale * log P_LM(text)
    nbest-ar     (1 - ar_weight) * total + ar_weight * log P_AR(text | audio), with the predictor (list_scores.py)
    mbr          - expected number of word errors, each text being true with a probability ~ exp(nbest_scale * total)

These are the scores of the hypotheses, but for mbr, whose scores are totals. `nbest-oracle` returns the whole list as
alternatives, of which the caller takes the nearest to the reference. Weights of hotwords are part of the total and of
log P_AR. The method `rescore` orders the list of another lattice (rescore.py).

AR alignments end exactly on the last frame, as in training; those of the lattice may run past it. So a text may have no
AR alignment. Where no text of an utterance has a score, its list is ordered by total, with a note.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from hainan_k2.fsa.lattices.nbest import best_texts, text_scores
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import WORD_START, Hypothesis
from hainan_k2.search.beam import make_ar_lattice
from hainan_k2.search.biasing import scaled_hotwords
from hainan_k2.search.list_scores import BEAM, ListScores
from hainan_k2.search.list_search import ListSearch
from hainan_k2.search.methods import ORDERING
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import DecodingResources
from hainan_k2.search.viterbi import make_arcs
from hainan_k2.search.viterbi_lm import lm_scorers

NO_SCORE = "no text of the n-best list has a score: ordered by the lattice"
AR_BEAM = BEAM  # nats


class Candidates:
    """The n-best lists of a batch: N texts in all, and their utterances (N,) int64, ascending.

    The texts are those of the NAR lattice, or of the AR lattice if `lattice_name` is "ar". It is composed with the
    hotwords of `resources` and, if `composed`, with their language models.
    """

    def __init__(
        self,
        model: Hainan,
        encoder_out: Tensor,
        lens: Tensor,
        options: SearchConfig,
        resources: DecodingResources,
        lattice_name: str = "nar",
        composed: bool = False,
    ) -> None:
        self.model, self.encoder_out, self.lens = model, encoder_out, lens.to(encoder_out.device, torch.int64)
        self.projected = model.joiner.project_encoder(encoder_out)
        listed_with = resources if composed else DecodingResources(hotwords=resources.hotwords)
        if lattice_name == "ar":
            lattice = make_ar_lattice(model, self.projected, self.lens, options, listed_with)
        else:
            scorers = lm_scorers(options, resources) if composed and resources.lm is not None else []
            lattice = make_arcs(model, self.projected, self.lens, options, listed_with, scorers).fsa()
        self.nbest = best_texts(lattice, options.num_paths)
        self.utterance, self.texts = self.nbest.utterance, self.nbest.texts()

    @cached_property
    def total(self) -> Tensor:
        """(N,) float64 log-probability of each text over all its alignments in the lattice."""
        return text_scores(self.nbest.lattice, self.utterance, self.texts)

    @cached_property
    def by_model(self) -> ListScores:
        """The texts' scores with the predictor and without it."""
        return ListScores(self.model, self.projected, self.lens, self.utterance, self.texts, AR_BEAM)

    def hypotheses(self, rank_scores: Tensor, scores: Tensor, count: int) -> list[Hypothesis]:
        """The best text of every utterance by rank_scores (N,); with count > 1, the best `count` as its alternatives.

        scores: (N,), those of the hypotheses. Raises ValueError for an utterance whose lattice has no path.
        """
        unscored = torch.ones(len(self.lens), dtype=torch.bool, device=rank_scores.device)
        unscored[self.utterance[rank_scores > -torch.inf]] = False
        if bool(unscored.any()):  # the totals take a quarter of the search
            rank_scores = torch.where(unscored[self.utterance], self.total, rank_scores)
            scores = torch.where(unscored[self.utterance], self.total, scores)
        rows = self.nbest.best_rows(rank_scores, count)
        lists: list[list[Hypothesis]] = [[] for _ in self.lens]
        hypotheses = self.nbest.select(rows).hypotheses(self.lens, scores[rows])
        for b, hypothesis in zip(self.utterance[rows].tolist(), hypotheses):
            lists[b].append(replace(hypothesis, note=NO_SCORE if unscored[b] else ""))
        pathless = [b for b, listed in enumerate(lists) if not listed]
        if pathless:
            raise ValueError(f"utterance {pathless[0]} of the batch has no path of finite score: the model fails on it")
        return [replace(best[0], alternatives=tuple(best) if count > 1 else ()) for best in lists]


def expected_errors(utterance: Tensor, scores: Tensor, words: Sequence[Sequence[Any]]) -> Tensor:
    """The expected number of word errors (N,) of each text, if each text of its utterance is true with a probability
    in proportion to exp(score). Minimum Bayes risk over an n-best list (Goel and Byrne, 2000)."""
    import kaldialign

    risk = torch.zeros_like(scores)
    for b in utterance.unique().tolist():
        rows = (utterance == b).nonzero()[:, 0]
        texts = [words[n] for n in rows.tolist()]
        errors = scores.new_zeros(len(rows), len(rows))
        for i, text in enumerate(texts):
            for j in range(i):
                errors[i, j] = errors[j, i] = kaldialign.edit_distance(texts[j], text)["total"]
        risk[rows] = errors @ scores[rows].softmax(0)
    return risk


def words_of(text: Sequence[int], pieces: Sequence[str] | None) -> list[Any]:
    """The words of a text of token ids; without pieces, the ids themselves."""
    return list(text) if pieces is None else "".join(pieces[i] for i in text).replace(WORD_START, " ").split()


def by_total(candidates: Candidates, options: SearchConfig, resources: DecodingResources) -> tuple[Tensor, Tensor]:
    """(rank scores, scores), each (N,): by the first the list is ordered, the second are those of the hypotheses."""
    return candidates.total, candidates.total


def by_lm(candidates: Candidates, options: SearchConfig, resources: DecodingResources) -> tuple[Tensor, Tensor]:
    """As `by_total`, plus the language model's score."""
    score = _mix(1.0, candidates.total, options.lm_scale, resources.require("lm").score(candidates.texts))
    return score, score


def by_ar(candidates: Candidates, options: SearchConfig, resources: DecodingResources) -> tuple[Tensor, Tensor]:
    """As `by_total`, interpolated with the predictor's score."""
    hotwords = scaled_hotwords(resources, options, candidates.total.device)
    ar = candidates.by_model.ar
    if hotwords is not None:
        ar = ar + hotwords.score(candidates.texts)
    score = _mix(1.0 - options.ar_weight, candidates.total, options.ar_weight, ar)
    return score, score


def by_expected_errors(
    candidates: Candidates, options: SearchConfig, resources: DecodingResources
) -> tuple[Tensor, Tensor]:
    """Ordered by expected word errors, fewest first; the scores are totals."""
    words = [words_of(text, resources.pieces) for text in candidates.texts]
    return -expected_errors(candidates.utterance, options.nbest_scale * candidates.total, words), candidates.total


def _mix(weight: float, scores: Tensor, other_weight: float, others: Tensor) -> Tensor:
    """weight * scores + other_weight * others, (N,). A term of weight 0 is left out: it may be -inf."""
    if not other_weight:
        return weight * scores
    if not weight:
        return other_weight * others
    return weight * scores + other_weight * others


@dataclass(frozen=True)
class NbestSearch(ListSearch):
    """A search function that orders its list by one of the functions above; `whole`: all texts are alternatives."""

    order: Callable[[Candidates, SearchConfig, DecodingResources], tuple[Tensor, Tensor]]
    whole: bool = False
    orders_by: ClassVar[tuple[str, ...]] = ORDERING

    @torch.no_grad()
    def search(
        self,
        model: Hainan,
        encoder_out: Tensor,
        lens: Tensor,
        points: Sequence[SearchConfig],
        resources: DecodingResources,
    ) -> list[list[Hypothesis]]:
        resources = resources.to(encoder_out.device)
        candidates = Candidates(model, encoder_out, lens, points[0], resources, points[0].lattice)
        return [
            candidates.hypotheses(
                *self.order(candidates, point, resources), point.num_paths if self.whole else point.nbest
            )
            for point in points
        ]


nbest_total = NbestSearch(by_total)
nbest_lm = NbestSearch(by_lm)
nbest_ar = NbestSearch(by_ar)
nbest_oracle = NbestSearch(by_total, whole=True)
nbest_mbr = NbestSearch(by_expected_errors)
