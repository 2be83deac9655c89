"""Forced alignment of recordings and of lhotse cuts with their texts: words with times and confidences.

    aligner = Aligner(recognizer)
    for result in aligner.align_files([("talk.flac", "the words of the talk")]):
        print(result.hypothesis.words)

Recordings are encoded as in decoding, long ones in windows. The search is hainan_k2.search.align: a recording of any
length is aligned as a whole. A recording that fails, and a text that cannot be aligned, have the reason in their result
and cost no other.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Union

import torch
from torch import Tensor

from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.inference.engine import encode_batch
from hainan_k2.inference.failures import reason
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.inference.samples import Input, batches, failure_of, read_each
from hainan_k2.inference.windows import FRAME
from hainan_k2.result import Hypothesis, Transcription
from hainan_k2.search.align import SCORES, align

if TYPE_CHECKING:
    from hainan_k2.data.batch import Batch

UNKNOWN = "<unk>"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Aligner:
    """Aligns texts with a recognizer's model; `scores` is "ar" or "nar"."""

    recognizer: Recognizer
    scores: str = "ar"

    def __post_init__(self) -> None:
        if self.scores not in SCORES:
            raise ValueError(f"scores is {self.scores!r}: choose from {', '.join(SCORES)}")
        if self.scores == "nar" and not self.recognizer.model.config.predictor_masking:
            logger.warning("the predictor of this model was not masked in training: align by scores ar")

    def align_files(
        self, pairs: Iterable[tuple[Union[str, Path, Transcription], str]], max_duration: float = 60.0
    ) -> Iterator[Transcription]:
        """Align each (path, text), in order; a Transcription in place of a path has failed already.

        `max_duration`: seconds of audio in a batch, padding included; a longer recording is a batch of its own.
        """
        texts: deque[str] = deque()

        def paths() -> Iterator[Union[str, Path, Transcription]]:
            for path, text in pairs:
                texts.append(text)
                yield path

        longest = self.recognizer.windows.at_once * FRAME
        for batch in batches(read_each(paths(), SAMPLING_RATE, longest), max_duration):
            listed = [texts.popleft() for _ in batch]
            readable = [b for b, (_, samples) in enumerate(batch) if samples is not None]
            aligned = iter(self._align_inputs([batch[b] for b in readable], [listed[b] for b in readable]))
            for result, samples in batch:
                yield result if samples is None else next(aligned)

    def _align_inputs(self, batch: Sequence[Input], texts: Sequence[str]) -> list[Transcription]:
        if not batch:
            return []
        try:
            results, encoder_out, lens = self.recognizer.encode_inputs(batch)
        except (ValueError, OSError, RuntimeError, MemoryError) as error:  # damage after the first window; no memory
            if len(batch) > 1:
                return [r for one, text in zip(batch, texts) for r in self._align_inputs([one], [text])]
            name = batch[0][0].name
            why = failure_of(name, error) if isinstance(error, (ValueError, OSError)) else f"{name}: {reason(error)}"
            return [replace(batch[0][0], failure=why)]
        return self._align(results, texts, encoder_out, lens)

    def align_batches(self, data: Iterable[Batch]) -> Iterator[Transcription]:
        """Align every utterance of `data` (EvaluationData) with its text; the names are the ids of the cuts."""
        device = next(self.recognizer.model.parameters()).device
        for batch in data:
            encoder_out, lens = encode_batch(self.recognizer.model, batch.to(device), self.recognizer.windows)
            results = [Transcription(name, seconds) for name, seconds in zip(batch.ids, batch.seconds)]
            yield from self._align(results, batch.texts, encoder_out, lens)

    def _align(
        self, results: Sequence[Transcription], texts: Sequence[str], encoder_out: Tensor, lens: Tensor
    ) -> list[Transcription]:
        """The results with alignments or failures, of encoder_out (B, T, C), lens (B,)."""
        tokenizer, model = self.recognizer.tokenizer, self.recognizer.model
        ids = [tokenizer.encode(text) for text in texts]
        failures = [self._why_not(listed) for listed in ids]
        rows = [b for b, failure in enumerate(failures) if not failure]
        aligned: dict[int, Hypothesis] = {}
        if rows:
            part = torch.tensor(rows, device=lens.device)
            longest = int(lens[part].max())
            found = align(model, encoder_out[part, :longest], lens[part], [ids[b] for b in rows], self.scores)
            aligned = dict(zip(rows, found))
        return [
            self._result(result, failure, aligned.get(b), len(ids[b]), int(lens[b]))
            for b, (result, failure) in enumerate(zip(results, failures))
        ]

    def _why_not(self, ids: Sequence[int]) -> str:
        """Why token ids are no text to align; empty if they are one."""
        if not ids:
            return "its text has no words"
        if any(self.recognizer.tokenizer.pieces[token] == UNKNOWN for token in ids):
            return "its text has characters that the tokenizer does not know"
        return ""

    def _result(
        self, result: Transcription, failure: str, aligned: Optional[Hypothesis], tokens: int, frames: int
    ) -> Transcription:
        if aligned is not None and aligned.score == -math.inf:
            failure = (
                f"its text of {tokens} tokens has no alignment with {frames} frames of {ENCODER_FRAME_SHIFT:g} s: "
                "is it the text of another recording?"
            )
        if failure or aligned is None:
            return replace(result, failure=f"{result.name}: {failure}")
        pieces = self.recognizer.tokenizer.pieces
        return replace(result, hypothesis=aligned.with_words(pieces, audio_seconds=result.seconds))
