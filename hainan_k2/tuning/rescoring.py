"""The weights of the method rescore: its lists are made and scored once, and the weighted sums are searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hainan_k2.search import SearchConfig
from hainan_k2.search.nbest import words_of
from hainan_k2.search.rescore import scored_lists, term_weights
from hainan_k2.tuning.axes import RESCORING_AXES, with_values
from hainan_k2.tuning.coordinates import CoordinateSearch, Point, Surface
from hainan_k2.tuning.dev_set import DevSet, word_errors
from hainan_k2.tuning.lists import ScoredTexts, tune


@dataclass(frozen=True)
class ListWeights:
    """The best weights of rescore by name, error rates around them, and lines about the lists."""

    values: Mapping[str, float]
    surface: Surface
    lines: tuple[str, ...]


def tune_rescoring(dev: DevSet, options: SearchConfig, seed: int) -> ListWeights:
    """The weights with the fewest word errors. One whose term the lists do not have is 0."""
    texts = score_texts(dev, options)
    axes = [axis for axis in RESCORING_AXES if axis.name.split("_")[0] in texts.terms]

    def values(point: Sequence[float]) -> dict[str, float]:
        named = {axis.name: value for axis, value in zip(axes, point)}
        return {axis.name: named.get(axis.name, 0.0) for axis in RESCORING_AXES}

    def weights(point: Sequence[float]) -> dict[str, float]:
        return term_weights(with_values(options, values(point)))

    def rates(points: Sequence[Point]) -> list[float]:
        return [texts.rate(texts.best_errors(weights(point))) for point in points]

    best: Point = tuple(tune(texts, [(axis.low, axis.high) for axis in axes], weights, seed))
    _, surface = CoordinateSearch(axes, rates).surface(best)
    lines = (
        f"{len(texts.utterance)} texts",
        f"WER of the lattice's best texts {100 * texts.rate(texts.errors[texts.first]):.2f} %",
        f"of the best on the lists {100 * texts.rate(texts.oracle_errors()):.2f} %",
    )
    return ListWeights(values(best), surface, lines)


def score_texts(dev: DevSet, options: SearchConfig) -> ScoredTexts:
    """The texts on the lists of all utterances, with their scores and word errors."""
    parts: list[Mapping[str, Tensor]] = []
    owners: list[int] = []
    errors: list[int] = []
    first = 0
    for encoded in dev.batches:
        if not encoded.batch.ids:
            continue
        for part in scored_lists(dev.model, encoded.encoder_out, encoded.lens, options, dev.resources):
            parts.append(part.terms)
            for row, text in zip(part.candidates.utterance.tolist(), part.candidates.texts):
                u = first + part.rows[row]
                owners.append(u)
                words = dev.tokenizer.scoring(" ".join(words_of(text, dev.tokenizer.pieces)))
                errors.append(word_errors(dev.references[u], words))
        first += len(encoded.batch.ids)
    order = np.argsort(owners, kind="stable")  # an utterance may have lists from several lattices
    names = sorted({name for part in parts for name in part})
    columns = {name: np.concatenate([_of_term(part, name) for part in parts])[order] for name in names}
    return ScoredTexts(columns, np.array(owners)[order], np.array(errors)[order], dev.lengths)


def _of_term(terms: Mapping[str, Tensor], name: str) -> np.ndarray:
    """The scores (N,) of a term; zeros where the lists were made without it."""
    return np.asarray(terms.get(name, 0.0 * terms["length"]).cpu().numpy())
