"""Search long recordings in segments: cut where nobody speaks, search segment by segment, join the results.

Greedy and beam searches and the plain lattice take input of any length. Compositions with language models, graphs,
grammars or hotwords, whose memory grows faster, take segments of half a minute at most. A segment is a sentence to
them: the language model and the grammar start anew, and hotwords end, where it ends. N-best lists are made of segments
of ten seconds at most: the list of a shorter segment covers more of its variants. Input of up to 30 s is never cut.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Optional

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hainan_k2.config import ModelConfig
from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.inference.batch_search import Outcome, search_batch
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis, Token
from hainan_k2.search import METHODS, DecodingResources
from hainan_k2.search.sweep import Row

IN_BATCH = 8  # segments that are searched in one batch


@dataclass(frozen=True)
class Limits:
    """Encoder frames that a search takes: recordings of up to `at_once`, longer ones in segments of up to `segment`."""

    at_once: int
    segment: int

    @classmethod
    def of(cls, row: Row, resources: DecodingResources) -> Optional[Limits]:
        """The limits of the row's method (`Method.longest`, `Method.segment`); None where it takes any length."""
        method = METHODS[row.method]
        longest = method.longest(row.options, resources)
        if math.isinf(longest):
            return None
        segment = method.segment(row.options, resources)
        return cls(round(longest / ENCODER_FRAME_SHIFT), round(segment / ENCODER_FRAME_SHIFT))


@torch.no_grad()
def search_segments(
    model: Hainan,
    encoder_out: Tensor,
    row: Row,
    resources: DecodingResources,
    name: str,
    pieces: Sequence[str],
    longest: int,
) -> Outcome:
    """Search one long recording in segments.

    Args:
      encoder_out: (T, C) frames of 80 ms.
      name: of the recording, for the log; pieces: the tokenizer's pieces.
      longest: frames of the longest segment.
    Returns:
      The joined hypothesis, without words, or why the search of the first segment that failed did so.
    """
    lens = torch.tensor([len(encoder_out)], device=encoder_out.device)
    (greedy,) = METHODS[pause_finder(model.config)].function(model, encoder_out[None], lens, row.options)
    segments = encoder_out.tensor_split(find_cuts(greedy, longest))
    outcomes: list[Outcome] = []
    for first in range(0, len(segments), IN_BATCH):
        batch = segments[first : first + IN_BATCH]
        sizes = torch.tensor([len(segment) for segment in batch], device=encoder_out.device)
        padded = pad_sequence(list(batch), batch_first=True)
        outcomes += search_batch(model, padded, sizes, [row], resources, [name] * len(batch))[0]
    hypotheses = [outcome for outcome in outcomes if isinstance(outcome, Hypothesis)]
    if len(hypotheses) < len(outcomes):
        return next(outcome for outcome in outcomes if isinstance(outcome, str))
    return join(hypotheses, pieces)


def pause_finder(config: ModelConfig) -> str:
    """The cheapest method whose token times a model of this configuration was trained for."""
    if config.objective == "ctc":
        return "ctc-greedy"
    return "nar-greedy" if config.objective == "tdt" and config.predictor_masking else "ar-greedy"


def find_cuts(hypothesis: Hypothesis, longest: int) -> list[int]:
    """Frames at which to cut an utterance so that no segment is longer than `longest` frames.

    Each cut is in the middle of the widest gap between the hypothesis's tokens in the second half of the frames that
    the segment may have.
    """
    spans, num_frames = hypothesis.spans(), hypothesis.num_frames
    starts, ends = [0, *(end for _, end in spans)], [*(start for start, _ in spans), num_frames]  # of the gaps
    cuts: list[int] = []
    begin = 0
    while num_frames - begin > longest:
        lowest, highest = begin + (longest + 1) // 2, begin + longest
        near = range(max(0, bisect_right(starts, lowest) - 1), bisect_right(starts, highest))
        gaps = [(max(starts[i], lowest), min(ends[i], highest)) for i in near]
        first, last = max(
            (gap for gap in gaps if gap[0] <= gap[1]), key=lambda gap: gap[1] - gap[0], default=(highest, highest)
        )
        begin = (first + last) // 2
        cuts.append(begin)
    return cuts


def join(parts: Sequence[Hypothesis], pieces: Sequence[str]) -> Hypothesis:
    """Join the hypotheses of consecutive segments: tokens move to their place in the recording, scores add up.

    Alternatives are dropped, and the note of the result says so. It also counts the notes of the segments, without
    their details in brackets.
    """
    tokens: list[Token] = []
    output: list[tuple[str, int, int]] = []
    begin = 0
    for part in parts:
        output += [(text, first + len(tokens), end + len(tokens)) for text, first, end in part.spelling(pieces)]
        tokens += [replace(token, frame=token.frame + begin) for token in part.tokens]
        begin += part.num_frames
    counts = Counter(part.note.partition(" (")[0] for part in parts if part.note)
    notes = [f"{count} of {len(parts)} segments: {note}" for note, count in counts.items()]
    if any(part.alternatives for part in parts):
        notes.append("the alternatives of segments are not joined")
    return Hypothesis(
        tuple(tokens),
        sum(part.score for part in parts),
        begin,
        note="; ".join(notes),
        output=tuple(output) if any(part.output is not None for part in parts) else None,
    )
