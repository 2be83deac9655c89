"""n-best searches: the most probable texts of the encoder-only lattice, ordered by something better.

All take the same list: the `num_paths` texts with the most probable alignments. The probability of a text is
that of all its alignments in the lattice, its total; the times of a text are those of its best alignment, a
token's confidence is its posterior in the lattice. What they order the list by:

    nbest        total
    nbest-lm     total + lm_scale * log P_LM(text)
    nbest-ar     (1 - ar_weight) * total + ar_weight * log P_AR(text | audio), the predictor's and over all alignments
    mbr          expected number of word errors, if the list holds the truth with probabilities exp(nbest_scale * total)

These are the scores of the hypotheses, except that mbr gives totals. `nbest-oracle` returns the whole list, out of
which whoever knows what was said takes the best. AR alignments end exactly on the last frame, as in training, those of
the lattice may overshoot it: a text may have no AR alignment. An utterance none of whose texts has a score is ordered
by total, and its note says so. What hotwords pay is part of the total and of log P_AR.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from hainan_k2.fsa.lattices.nbest import best_texts, text_scores
from hainan_k2.fsa.losses.sequence_scores import tdt_sequence_scores
from hainan_k2.result import WORD_START, Hypothesis
from hainan_k2.search.biasing import scaled_hotwords
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources
from hainan_k2.search.viterbi import make_lattice

ORDERING = ("lm_scale", "ar_weight", "nbest_scale", "nbest")  # options that do not change the list
_LOGITS = 1 << 26  # of the joint at a time, in nbest-ar: 256 MB


class Candidates:
    """The N texts to choose from of a batch's utterances, and their scores, each (N,) float64."""

    def __init__(self, model, encoder_out: Tensor, lens: Tensor, options: SearchConfig, resources: DecodingResources):
        self.model, self.lens = model, lens.to(encoder_out.device, torch.int64)
        self.projected = model.joiner.project_encoder(encoder_out)
        lattice = make_lattice(model, self.projected, self.lens, options, resources)
        self.nbest = best_texts(lattice, options.num_paths)
        self.utterance, self.texts = self.nbest.utterance, self.nbest.texts()
        self.total = text_scores(lattice, self.utterance, self.texts)

    @cached_property
    def ar(self) -> Tensor:
        """log P(text | audio) with the predictor, over all alignments; -inf where a text has none."""
        return ar_scores(self.model, self.projected, self.lens, self.utterance, self.texts)

    def hypotheses(self, merit: Tensor, scores: Tensor, count: int) -> list[Hypothesis]:
        """Every utterance's text of most merit (N,), with its `count` best as alternatives where that is above 1."""
        empty = torch.ones(len(self.lens), dtype=torch.bool, device=merit.device)
        empty[self.utterance[merit > -torch.inf]] = False
        merit = torch.where(empty[self.utterance], self.total, merit)
        scores = torch.where(empty[self.utterance], self.total, scores)

        order = merit.sort(descending=True, stable=True).indices
        order = order[self.utterance[order].sort(stable=True).indices]
        owner = self.utterance[order]
        rank = torch.arange(len(order), device=order.device) - torch.searchsorted(owner, owner)
        rows = order[rank < count]
        found: list[list[Hypothesis]] = [[] for _ in self.lens]
        made = self.nbest.select(rows).hypotheses(self.lens, scores[rows])
        for b, hypothesis in zip(self.utterance[rows].tolist(), made):
            note = "no text of the n-best list has a score: ordered by the lattice" if empty[b] else ""
            found[b].append(replace(hypothesis, note=note))
        silent = [b for b, hypotheses in enumerate(found) if not hypotheses]
        if silent:
            raise ValueError(f"utterance {silent[0]} of the batch has no path of finite score: the model fails on it")
        return [replace(best[0], alternatives=tuple(best) if count > 1 else ()) for best in found]


def ar_scores(model, projected: Tensor, lens: Tensor, utterance: Tensor, texts: Sequence[Sequence[int]]) -> Tensor:
    """tdt_sequence_scores of texts (N) of the utterances utterance (N,), over projected frames (B, T, J).

    All are computed together, in parts where the logits would be more than 2^26. A text of no frames has nothing to
    be aligned with: 0 if it is empty, too.
    """
    sizes, frames = torch.tensor([len(text) for text in texts], device=lens.device), lens[utterance]
    scores = torch.where(sizes == 0, 0.0, -torch.inf).to(torch.float64)
    rows = (frames > 0).nonzero()[:, 0]
    if not len(rows):
        return scores
    rows = rows[(frames[rows] * (sizes[rows] + 1)).argsort(descending=True)]  # alike ones together
    longest = int(frames.max()) * (int(sizes.max()) + 1)
    channels = model.vocab_size + len(model.durations)
    for part in rows.split(max(1, _LOGITS // (longest * channels))):
        width, length = int(sizes[part].max()), int(frames[part].max())
        padded = [[*texts[n], *[1] * (width - len(texts[n]))] for n in part.tolist()]
        targets = torch.tensor(padded, dtype=torch.int64, device=lens.device).view(len(part), width)
        predicted = model.joiner.project_predictor(model.predictor(targets))
        logits = model.joiner.logits(projected[utterance[part], :length, None], predicted[:, None])
        found = tdt_sequence_scores(logits, targets, frames[part], sizes[part], model.durations)
        scores[part] = found.double()
    return scores


def expected_errors(utterance: Tensor, scores: Tensor, words: Sequence[Sequence]) -> Tensor:
    """Expected number of word errors (N,) of each text if the others of its utterance are true with probabilities
    in proportion to exp(scores)."""
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


def words_of(text: Sequence[int], pieces: Sequence[str] | None) -> list:
    """The words of token ids, or without pieces the tokens themselves."""
    return list(text) if pieces is None else "".join(pieces[i] for i in text).replace(WORD_START, " ").split()


def by_total(found: Candidates, options: SearchConfig, resources: DecodingResources) -> tuple[Tensor, Tensor]:
    """(merit, scores), each (N,): what to order by, and what to report; so do the others below."""
    return found.total, found.total


def by_lm(found: Candidates, options: SearchConfig, resources: DecodingResources) -> tuple[Tensor, Tensor]:
    score = _mix(1.0, found.total, options.lm_scale, resources.lm.to(found.total.device).score(found.texts))
    return score, score


def by_ar(found: Candidates, options: SearchConfig, resources: DecodingResources) -> tuple[Tensor, Tensor]:
    hotwords = scaled_hotwords(resources, options, found.total.device)
    ar = found.ar if hotwords is None else found.ar + hotwords.score(found.texts)
    score = _mix(1.0 - options.ar_weight, found.total, options.ar_weight, ar)
    return score, score


def by_expected_errors(found: Candidates, options: SearchConfig, resources: DecodingResources) -> tuple[Tensor, Tensor]:
    words = [words_of(text, resources.pieces) for text in found.texts]
    return -expected_errors(found.utterance, options.nbest_scale * found.total, words), found.total


def _mix(weight: float, scores: Tensor, other_weight: float, others: Tensor) -> Tensor:
    """The weighted sum; what has weight 0 does not count even where it is -inf."""
    return sum(w * s for w, s in ((weight, scores), (other_weight, others)) if w != 0)


@dataclass(frozen=True)
class NbestSearch:
    """A search function that orders its list by one of the above; `whole` returns all of it as alternatives."""

    order: Callable[[Candidates, SearchConfig, DecodingResources], tuple[Tensor, Tensor]]
    whole: bool = False

    def __call__(
        self,
        model,
        encoder_out: Tensor,
        lens: Tensor,
        options: SearchConfig,
        resources: DecodingResources = NO_RESOURCES,
    ) -> list[Hypothesis]:
        """The best texts of encoder_out (B, T, C), lens (B,)."""
        return self._search(model, encoder_out, lens, [options], resources)[0]

    def sweep(
        self,
        model,
        encoder_out: Tensor,
        lens: Tensor,
        points: Sequence[SearchConfig],
        resources: DecodingResources = NO_RESOURCES,
    ) -> list[list[Hypothesis]]:
        """The same at each of several points, from one list: they may differ in the options `ORDERING` only."""
        same = {name: getattr(points[0], name) for name in ORDERING}
        if any(replace(point, **same) != points[0] for point in points):
            raise ValueError(f"the points of a sweep differ in more than {', '.join(ORDERING)}: their lists do, too")
        return self._search(model, encoder_out, lens, points, resources)

    @torch.no_grad()
    def _search(
        self, model, encoder_out: Tensor, lens: Tensor, points: Sequence[SearchConfig], resources: DecodingResources
    ) -> list[list[Hypothesis]]:
        found = Candidates(model, encoder_out, lens, points[0], resources)
        return [
            found.hypotheses(*self.order(found, point, resources), point.num_paths if self.whole else point.nbest)
            for point in points
        ]


nbest_total = NbestSearch(by_total)
nbest_lm = NbestSearch(by_lm)
nbest_ar = NbestSearch(by_ar)
nbest_oracle = NbestSearch(by_total, whole=True)
nbest_mbr = NbestSearch(by_expected_errors)
