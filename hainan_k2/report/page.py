"""What a page shows, as the commands gather it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Optional

import numpy as np

from hainan_k2.inference.decoded import Decoded
from hainan_k2.result import Hypothesis

Pairs = tuple[tuple[str, str], ...]  # (name, value)


@dataclass(frozen=True)
class Detail:
    """What the page shows of an utterance besides its texts and errors.

    Args:
      samples: (N,), mono, 16 kHz; None if the page has no sound for it.
      paths: the most probable texts of its lattice, best first; their scores are natural logarithms.
    """

    samples: Optional[np.ndarray] = None
    paths: tuple[Hypothesis, ...] = ()


@dataclass(frozen=True)
class Page:
    """Utterances decoded by one or more methods.

    Args:
      title: heading of the page.
      labels: the methods; the first is selected when the page opens.
      decoded: the utterances; their hypotheses have words.
      pieces: the tokenizer's pieces, index = token id.
      details: the utterances that have sound, spectrogram, tokens and lattice on the page, by id.
      seconds: time of "encoder" and of the search of each label.
      facts: (name, value) pairs, printed under the title.
      references: whether the utterances have references. If not, every two methods are compared, and none is scored.
      origin: (name, value) pairs, printed at the end of the page: what made it.
      speakers: the speaker of each utterance, by id, where known.
    """

    title: str
    labels: tuple[str, ...]
    decoded: Sequence[Decoded]
    pieces: Sequence[str]
    details: Mapping[str, Detail]
    seconds: Mapping[str, float] = field(default_factory=dict)
    facts: Pairs = ()
    references: bool = True
    origin: Pairs = ()
    speakers: Mapping[str, str] = field(default_factory=dict)
