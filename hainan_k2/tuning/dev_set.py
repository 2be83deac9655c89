"""DevSet: a development set whose encoder output is kept in memory, so that another setting costs a search alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import kaldialign
import numpy as np
import torch
from torch import Tensor

from hainan_k2.data.batch import Batch
from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.inference.decoded import Decoded, of_method
from hainan_k2.inference.engine import decode_encoded, encode_batch
from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS
from hainan_k2.model.hainan import Hainan
from hainan_k2.scoring.calibration import judged_utterances
from hainan_k2.scoring.wer import score
from hainan_k2.search import METHODS, DecodingResources, SearchConfig
from hainan_k2.search.sweep import Row
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.text import Tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodedBatch:
    """B utterances: a Batch without features, and the encoder output (B, T, C) of lens (B,) frames."""

    batch: Batch
    encoder_out: Tensor
    lens: Tensor


class DevSet:
    """The utterances of `batches`, searched by one method with one set of resources.

    Utterances that the method cannot search at once are left out, and named in the log: a segment of a recording has no
    reference of its own.

    Args:
      batches: encoded, in any order.
      options: those that decide what the method can search at once.
    Raises:
      ValueError: where no utterance is left.
    """

    def __init__(
        self,
        model: Hainan,
        tokenizer: Tokenizer,
        method: str,
        options: SearchConfig,
        resources: DecodingResources,
        batches: Sequence[EncodedBatch],
    ) -> None:
        self.model, self.tokenizer, self.method, self.resources = model, tokenizer, method, resources
        longest = METHODS[method].longest(options, resources)
        self.batches = []
        for encoded in batches:
            too_long = [i for i, seconds in enumerate(encoded.batch.seconds) if seconds > longest]
            for i in too_long:
                name, seconds = encoded.batch.ids[i], encoded.batch.seconds[i]
                logger.warning("%s is left out: %.0f s, %s searches up to %g s at once", name, seconds, method, longest)
            self.batches.append(_without(encoded, too_long))
        texts = (text for encoded in self.batches for text in encoded.batch.texts)
        self.references = [tokenizer.scoring(text) for text in texts]
        self.lengths = np.array([len(reference.split()) for reference in self.references], dtype=int)
        if not self.lengths.sum():
            raise ValueError("the development set has no words: there is nothing to tune on")

    def rate(self, errors: np.ndarray) -> float:
        """The word error rate, a fraction, of errors (U,)."""
        return float(errors.sum() / self.lengths.sum())

    def decode(self, points: Sequence[SearchConfig]) -> list[np.ndarray]:
        """The word errors (U,) of the utterances with each of several options, by one search or as many as are needed.

        A search that fails is reported in the log and counts as an empty text.
        """
        texts: list[list[str]] = [[] for _ in points]
        for decoded in self._decoded(points):
            for i, of_point in enumerate(texts):
                of_point += [utterance.texts(str(i))[2] for utterance in decoded]
        return [self.errors(of_point) for of_point in texts]

    def words(self, options: SearchConfig) -> list[tuple[float, bool]]:
        """(confidence, whether it is correct) of every recognised word."""
        found = []
        for decoded in self._decoded([options]):
            scored = score(utterance.texts("0") for utterance in decoded)
            for words in judged_utterances(scored, *of_method(decoded, "0")):
                found += words or []
        return found

    def _decoded(self, points: Sequence[SearchConfig]) -> Iterator[list[Decoded]]:
        """The utterances of every batch, decoded with each of several options; labels are the numbers of these."""
        rows = [Row(str(i), self.method, options) for i, options in enumerate(points)]
        for encoded in self.batches:
            if encoded.batch.ids:
                yield decode_encoded(
                    self.model,
                    encoded.batch,
                    encoded.encoder_out,
                    encoded.lens,
                    rows,
                    self.tokenizer.pieces,
                    Stopwatch(),
                    self.resources,
                    self.tokenizer.scoring,
                )

    def errors(self, texts: Sequence[str]) -> np.ndarray:
        """(U,) word errors of a normalised text for every utterance."""
        return np.array([word_errors(*pair) for pair in zip(self.references, texts)], dtype=int)


@lru_cache(maxsize=2**20)  # other weights leave most texts as they were
def word_errors(reference: str, text: str) -> int:
    """The word errors of a text, both normalised."""
    return int(kaldialign.edit_distance(reference.split(), text.split())["total"])


@torch.no_grad()
def encode_cuts(model: Hainan, cuts: str, max_duration: float, encoder: str = "") -> Iterator[EncodedBatch]:
    """The encoded batches of a cut manifest; long cuts are encoded in windows, as decode.py does.

    Args:
      encoder: SHA-256 of the encoder, where the cuts may have its output stored (hainan-compute-features --encoder).
    Raises:
      ValueError: for a manifest that cannot be read, or stored output of another encoder.
    """
    device = next(model.parameters()).device
    config = DataConfig(max_duration=max_duration, num_workers=0)
    for batch in EvaluationData(cuts, config, model.config, longest=DEFAULT_WINDOWS.seconds, encoder=encoder):
        encoder_out, lens = encode_batch(model, batch.to(device))
        yield EncodedBatch(replace(batch, features=torch.zeros(0), long=None), encoder_out, lens)


def _without(encoded: EncodedBatch, left_out: Sequence[int]) -> EncodedBatch:
    """The batch without the utterances of these numbers."""
    kept = [i for i in range(len(encoded.batch.ids)) if i not in left_out]
    if not left_out:
        return encoded
    batch = encoded.batch
    columns: dict[str, Any] = {
        name: tuple(getattr(batch, name)[i] for i in kept) for name in ("ids", "texts", "seconds")
    }
    return EncodedBatch(replace(batch, **columns), encoded.encoder_out[kept], encoded.lens[kept])
