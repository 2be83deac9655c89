"""The most probable texts of an utterance's lattice, for its n-best list and its word graph."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from lhotse import CutSet

from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.fsa.k2 import why_no_k2
from hainan_k2.inference.batch_search import search_batch
from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.engine import encode_batch
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS, Windows
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search import METHODS, DecodingResources, Method, SearchConfig
from hainan_k2.search.suitability import untrained, why_unsuitable
from hainan_k2.search.sweep import Row
from hainan_k2.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

PATHS = 8  # texts of each lattice
LATTICE_SECONDS = 60.0  # longer recordings have no lattice on the page: it takes much memory and is unreadable


def paths_of_recording(
    recognizer: Recognizer,
    samples: np.ndarray,
    decoded: Decoded,
    resources: DecodingResources,
    options: SearchConfig,
) -> tuple[Hypothesis, ...]:
    """The most probable texts of a recording's lattice, samples (N,) at 16 kHz; none where it cannot be built."""
    if why_not(METHODS["nbest"], recognizer.model) or decoded.seconds > LATTICE_SECONDS:
        return ()
    encoded = recognizer.encode([samples])
    ((best,),) = search_batch(recognizer.model, *encoded, [_lattice_row(options)], resources, [decoded.id])
    if isinstance(best, str):
        return ()
    return best.with_words(recognizer.tokenizer.pieces, audio_seconds=decoded.seconds).alternatives


def paths_of_cuts(
    model: Hainan,
    cuts: CutSet,
    tokenizer: Tokenizer,
    resources: DecodingResources,
    options: SearchConfig,
    windows: Windows = DEFAULT_WINDOWS,
) -> dict[str, tuple[Hypothesis, ...]]:
    """The most probable texts of each cut's lattice, with words, by id; a warning and none where it cannot be built."""
    why = why_not(METHODS["nbest"], model)
    if why:
        logger.warning("the page has no lattices: %s", why)
        return {}
    short = CutSet.from_cuts(cut for cut in cuts if cut.duration <= LATTICE_SECONDS)
    if not len(short):
        return {}
    config = DataConfig(max_duration=LATTICE_SECONDS, num_workers=0)
    device, paths = next(model.parameters()).device, {}
    for batch in EvaluationData(short, config, model.config, longest=windows.seconds):
        encoded = encode_batch(model, batch.to(device), windows)
        (outcomes,) = search_batch(model, *encoded, [_lattice_row(options)], resources, batch.ids)
        for name, seconds, outcome in zip(batch.ids, batch.seconds, outcomes):
            if isinstance(outcome, Hypothesis):
                paths[name] = outcome.with_words(tokenizer.pieces, audio_seconds=seconds).alternatives
    return paths


def why_not(method: Method, model: Hainan) -> str:
    """Why the method cannot run here or is of no use for the model; empty where it can."""
    if untrained(method, model.config):
        return "the encoder-only joint of this model is not trained"
    return why_unsuitable(method, model.config, METHODS) or (why_no_k2() if method.needs_k2 else "")


def _lattice_row(options: SearchConfig) -> Row:
    return Row("nbest", "nbest", replace(options, nbest=PATHS, num_paths=max(options.num_paths, PATHS)))
