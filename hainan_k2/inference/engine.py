"""The engine of all commands: encode audio in windows, cut long encoder output into segments, search every segment.

decode.py, transcribe.py, `Recognizer`, the report page and the validation of training all call it, so that the text
that is scored is the text that users get:

    batch -> encode_batch -> encoder output -> search_encoded -> a Hypothesis for every row and utterance
             (windows)       80 ms frames      (segments)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Optional

import torch
from torch import Tensor

from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.inference.batch_search import Outcome, group_rows, search_batch
from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.segments import Limits, search_segments
from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS, Windows
from hainan_k2.inference.windows import encode_audio, encode_features
from hainan_k2.model.hainan import Hainan
from hainan_k2.search import METHODS, NO_RESOURCES, DecodingResources
from hainan_k2.search.sweep import Row
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.text.normalise import normalise as english

if TYPE_CHECKING:
    from hainan_k2.data.batch import Batch


@torch.no_grad()
def encode_batch(model: Hainan, batch: Batch, windows: Windows = DEFAULT_WINDOWS) -> tuple[Tensor, Tensor]:
    """Encode a batch: encoder output (B, T, C) in frames of 80 ms, padded, and lens (B,).

    A long utterance (`Batch.long`, as EvaluationData with longest=windows.seconds gives it) is encoded in windows;
    every other batch at once. Stored encoder output is returned as it is. `model` is in eval mode.
    """
    if batch.encoded:
        return batch.features, batch.lens
    if batch.long is None:
        return model.encoder(batch.features, batch.lens)
    spec, recording = batch.long.spec, batch.long.recording
    if recording.ndim == 1:
        return encode_audio(model, spec, [recording], windows)
    return encode_features(model, spec, recording, windows)


def search_encoded(
    model: Hainan,
    encoder_out: Tensor,
    lens: Tensor,
    rows: Sequence[Row],
    pieces: Sequence[str],
    names: Sequence[str],
    resources: DecodingResources = NO_RESOURCES,
    watch: Optional[Stopwatch] = None,
) -> list[list[Outcome]]:
    """Search encoder output with every row; long utterances in segments where the method needs it.

    Args:
      encoder_out: (B, T, C) frames of 80 ms; lens: (B,) frames of each utterance.
      pieces: the tokenizer's pieces, index = token id; names: of the B utterances, for the log.
      watch: adds up the search seconds under the label of each row. Rows that are searched together share their time.
    Returns:
      For every utterance a list with the outcome of each row: a Hypothesis without words, or the reason of a failure.
    """
    watch = watch or Stopwatch()
    outcomes: dict[str, list[Outcome]] = {}
    for group in group_rows(rows):
        start = watch.now()
        listed = _search_group(model, encoder_out, lens, group, pieces, names, resources)
        share = (watch.now() - start) / len(group)
        for row, of_row in zip(group, listed):
            watch.seconds[row.label] += share
            outcomes[row.label] = of_row
    return [[outcomes[row.label][b] for row in rows] for b in range(len(names))]


def _search_group(
    model: Hainan,
    encoder_out: Tensor,
    lens: Tensor,
    group: Sequence[Row],
    pieces: Sequence[str],
    names: Sequence[str],
    resources: DecodingResources,
) -> list[list[Outcome]]:
    """For every row of a group the outcomes of all utterances."""
    lengths = lens.tolist()
    limits = Limits.of(group[0], resources)
    at_once = [b for b, length in enumerate(lengths) if limits is None or length <= limits.at_once]
    too_long = [b for b, length in enumerate(lengths) if limits is not None and length > limits.at_once]
    outcomes: dict[tuple[str, int], Outcome] = {}
    if at_once:
        part = encoder_out, lens
        if len(at_once) < len(lengths):
            part = encoder_out[at_once, : max(lengths[b] for b in at_once)], lens[at_once]
        listed = search_batch(model, *part, group, resources, [names[b] for b in at_once])
        for row, of_row in zip(group, listed):
            outcomes.update(((row.label, b), outcome) for b, outcome in zip(at_once, of_row))
    for row, b in product(group, too_long):
        assert limits is not None
        if METHODS[row.method].oracle:
            seconds = limits.at_once * ENCODER_FRAME_SHIFT
            outcomes[row.label, b] = f"longer than {seconds:g} s: its n-best lists cannot be joined"
        else:
            frames = encoder_out[b, : lengths[b]]
            outcomes[row.label, b] = search_segments(model, frames, row, resources, names[b], pieces, limits.segment)
    return [[outcomes[row.label, b] for b in range(len(lengths))] for row in group]


def decode_batches(
    model: Hainan,
    batches: Iterable[Batch],
    rows: Sequence[Row],
    pieces: Sequence[str],
    watch: Stopwatch,
    resources: DecodingResources = NO_RESOURCES,
    windows: Windows = DEFAULT_WINDOWS,
    normalise: Callable[[str], str] = english,
    also: Optional[Callable[[Sequence[str], Tensor, Tensor], None]] = None,
) -> Iterator[list[Decoded]]:
    """Decode every batch with every row, from one pass of the encoder.

    `watch` adds up the seconds of "encoder" and, under its label, of every row's search. `model` is in eval mode.
    `normalise` is what texts go through before they are compared, Tokenizer.scoring of the model. `also` is called with
    the ids, the encoder output (B, T, C) and the lens (B,) of every batch.
    """
    device = next(model.parameters()).device
    for batch in batches:
        batch = batch.to(device)
        with watch.section("encoder"):
            encoder_out, lens = encode_batch(model, batch, windows)
        if also is not None:
            also(batch.ids, encoder_out, lens)
        yield decode_encoded(model, batch, encoder_out, lens, rows, pieces, watch, resources, normalise)


@torch.no_grad()
def decode_encoded(
    model: Hainan,
    batch: Batch,
    encoder_out: Tensor,
    lens: Tensor,
    rows: Sequence[Row],
    pieces: Sequence[str],
    watch: Stopwatch,
    resources: DecodingResources = NO_RESOURCES,
    normalise: Callable[[str], str] = english,
) -> list[Decoded]:
    """Decode a batch whose encoder output (B, T, C) and lens (B,) are there already; see `decode_batches`."""
    listed = search_encoded(model, encoder_out, lens, rows, pieces, batch.ids, resources, watch)
    decoded = [Decoded(*utterance, {}, {}, normalise) for utterance in zip(batch.ids, batch.texts, batch.seconds)]
    for utterance, outcomes in zip(decoded, listed):
        for row, outcome in zip(rows, outcomes):
            utterance.add(row, outcome, pieces)
    return decoded
