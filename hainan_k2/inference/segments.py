"""Long recordings for searches that cannot take them whole: they are cut where nothing is said, searched stretch by
stretch, and the results are joined.

Greedy and beam searches and the plain lattice take any length: their memory and time grow with it, no faster.
Compositions with language models, graphs, grammars or hotwords are made of a stretch of half a minute at most. To those
a stretch is a sentence: a language model and a grammar begin anew, and hotwords end, where it ends. N-best lists are
made of ten seconds at most: a list has the same number of texts whatever it is a list of, and those of a shorter
stretch leave more of it to choose.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Optional, Union

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hainan_k2.inference.engine import search
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search import METHODS, DecodingResources
from hainan_k2.search.sweep import Row

LONGEST = 375  # encoder frames: 30 s. What is not longer is searched at once
LISTED = 125  # 10 s
TOGETHER = 8  # stretches in a batch
WHOLE = ("ar-greedy", "ar-beam", "nar-greedy", "sar")
WHOLE_ALONE = ("viterbi", "sar-viterbi")  # if there are no hotwords
LISTS = ("nbest", "nbest-lm", "nbest-ar", "mbr", "nbest-oracle")


def takes_whole(row: Row, resources: DecodingResources) -> bool:
    """Whether the method searches a recording of any length at once."""
    return row.method in WHOLE or row.method in WHOLE_ALONE and resources.hotwords is None


@torch.no_grad()
def search_stretches(
    model: Hainan,
    encoder_out: Tensor,
    row: Row,
    resources: DecodingResources,
    name: str,
    pieces: Sequence[str],
    longest: Optional[int] = None,
) -> Union[Hypothesis, str]:
    """What a row finds in a recording's encoder_out (T, C), or why it failed in one of the stretches.

    longest: frames of a stretch at most; None: what suits the method.
    """
    longest = longest or (LISTED if row.method in LISTS else LONGEST)
    lens = torch.tensor([len(encoder_out)], device=encoder_out.device)
    ends = pauses(METHODS["nar-greedy"].function(model, encoder_out[None], lens, row.options)[0], longest)
    stretches = encoder_out.tensor_split(ends)
    parts: list[Union[Hypothesis, str]] = []
    for first in range(0, len(stretches), TOGETHER):
        batch = stretches[first : first + TOGETHER]
        sizes = torch.tensor([len(s) for s in batch], device=encoder_out.device)
        parts += search(model, pad_sequence(batch, batch_first=True), sizes, [row], resources, [name] * len(batch))[0]
    failures = [part for part in parts if isinstance(part, str)]
    return failures[0] if failures else join(parts, pieces)


def pauses(said: Hypothesis, longest: int) -> list[int]:
    """Frames at which to cut so that no stretch is longer than `longest`: each in the middle of the widest gap between
    tokens in the second half of what a stretch may hold."""
    spans = said.spans()
    starts, ends = [0, *(end for _, end in spans)], [*(start for start, _ in spans), said.num_frames]  # of the gaps
    cuts, begin = [], 0
    while said.num_frames - begin > longest:
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
    """Consecutive stretches as one hypothesis: scores add up, alternatives are lost, and a note says so. It counts the
    notes of the stretches, without what they say in brackets of each."""
    tokens, output, begin = [], [], 0
    for part in parts:
        output += [(text, first + len(tokens), end + len(tokens)) for text, first, end in part.spelling(pieces)]
        tokens += [replace(token, frame=token.frame + begin) for token in part.tokens]
        begin += part.num_frames
    counts = Counter(part.note.partition(" (")[0] for part in parts if part.note)
    notes = [f"{count} of {len(parts)} stretches: {note}" for note, count in counts.items()]
    if any(part.alternatives for part in parts):
        notes.append("alternatives of a long recording are not joined")
    return Hypothesis(
        tuple(tokens),
        sum(part.score for part in parts),
        begin,
        note="; ".join(notes),
        output=tuple(output) if any(part.output is not None for part in parts) else None,
    )
