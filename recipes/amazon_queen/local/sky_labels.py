"""Labels for the lines of Beneath a Steel Sky, whose texts cannot be matched to their sounds.

Two Whisper models of different size and training recognise every line. A line is kept, with the text of the second
model, if the WER between the two texts is low. All recognised texts are appended to a file as they come, so that an
interrupted run continues where it stopped.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import jiwer
import numpy as np
from corpus import Utterance
from steel_sky import RATE, SteelSky
from whisper_decoder import WhisperDecoder

from hainan_k2.frontend.audio import SAMPLING_RATE, resample
from hainan_k2.text import normalise

logger = logging.getLogger(__name__)

WINDOW = 16 * SAMPLING_RATE  # samples of Whisper's input: most lines last 2 s, and 30 s would take twice the time
SHORTEST, LONGEST = 0.3, 30.0  # seconds of a line


def agree(first: str, second: str, most: float) -> bool:
    """Whether the WER of `first` against `second`, both in normal form, is at most `most`.

    >>> agree("a x c", "a b c", 0.34)
    True
    """
    return bool(second) and (jiwer.wer(second, first) if first else 1.0) <= most


def sky_lines(
    game: SteelSky, labels: Path, load_models: Callable[[], list[WhisperDecoder]], most: float, dropped: Counter
) -> Iterator[Utterance]:
    """Yield the lines on which two models agree.

    Args:
      game: the lines.
      labels: JSON lines {"number", "texts"}, read if the file exists; new labels are appended.
      load_models: loads the two models; called only if a line has no label yet.
      most: highest WER between the two texts, as in `agree`.
      dropped: counts the omitted lines by reason.
    """
    known = {}
    if labels.exists():
        known = {entry["number"]: entry["texts"] for entry in map(json.loads, labels.read_text("utf-8").splitlines())}
    models: list[WhisperDecoder] = []
    with open(labels, "a", encoding="utf-8") as file:
        for number in game.numbers:
            samples = resample(game.samples(number), RATE, SAMPLING_RATE)
            if not SHORTEST <= len(samples) / SAMPLING_RATE <= LONGEST:
                dropped[f"shorter than {SHORTEST} s or longer than {LONGEST} s"] += 1
                continue
            if number not in known:
                models = models or load_models()
                known[number] = [model.recognise(np.asarray(samples), WINDOW) for model in models]
                file.write(json.dumps({"number": number, "texts": known[number]}) + "\n")
                file.flush()
                if len(known) % 100 == 0:
                    logger.info("train-sky: %d of %d lines labelled", len(known), len(game.numbers))
            first, second = map(normalise, known[number])
            if not agree(first, second, most):
                dropped["two models disagree"] += 1
                continue
            yield Utterance("sky", f"{number // 100}", f"{number}", second, samples)
