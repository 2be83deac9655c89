"""The pages of decode.py and transcribe.py."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Optional, TypeVar

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut

from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.data.cuts import open_cuts
from hainan_k2.frontend.audio import SAMPLING_RATE, read_audio
from hainan_k2.fsa.k2 import why_no_k2
from hainan_k2.inference.batch_search import search_batch
from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.engine import encode_batch
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.inference.samples import Audio
from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS, Windows
from hainan_k2.model.hainan import Hainan
from hainan_k2.report.content import Detail, Page
from hainan_k2.report.render import render
from hainan_k2.result import Hypothesis
from hainan_k2.search import METHODS, DecodingResources, Method, SearchConfig
from hainan_k2.search.suitability import untrained, why_unsuitable
from hainan_k2.search.sweep import Row
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

SHOWN = 20  # utterances shown one by one
PATHS = 8  # texts shown of each lattice
LATTICE_SECONDS = 60.0  # longer recordings have no lattice on the page: it takes much memory and is unreadable

Item = TypeVar("Item")
Pairs = tuple[tuple[str, str], ...]  # (name, value)


def write_decoding(
    path: Path,
    model: Hainan,
    cuts: str,
    decoded: Sequence[Decoded],
    rows: Sequence[Row],
    seconds: Mapping[str, Sequence[float]],
    tokenizer: Tokenizer,
    resources: DecodingResources,
    windows: Windows = DEFAULT_WINDOWS,
    origin: Pairs = (),
) -> None:
    """Write the page of a decoding run: a summary of all utterances, and 20 of them in detail.

    The 20 are spread evenly over the order of decoding. If no cut has a text, the methods are compared with each other.

    Args:
      path: HTML file to write.
      cuts: manifest that was decoded.
      decoded: its utterances with their results.
      rows: the methods and their options, in order.
      seconds: time of "encoder" and of the search of each row's label, one number per repeat.
      tokenizer: that of the model.
      resources: LM, graph, grammar and hotwords of the lattices.
      windows: window sizes of the encoder, as in the decoding run.
      origin: what made the page, of `hainan_k2.report.origin`.
    """
    shown = {d.id for d in evenly(decoded)}
    some = CutSet.from_cuts(cut for cut in open_cuts(cuts) if cut.id in shown)
    paths = lattice_paths(model, some, tokenizer, resources, rows[0].options, windows)
    details = {cut.id: Detail(samples_of(cut), paths.get(cut.id, ())) for cut in some}
    write_page(
        path,
        Page(
            f"Recognition of {Path(cuts).name}",
            tuple(row.label for row in rows),
            decoded,
            tokenizer.pieces,
            details,
            {name: mean(values) for name, values in seconds.items()},
            facts(model),
            references=any(d.reference for d in decoded),
            origin=origin,
        ),
    )


def transcription_page(
    recognizer: Recognizer,
    results: Sequence[tuple[Audio, Decoded]],
    rows: Sequence[Row],
    resources: DecodingResources,
    seconds: Optional[Mapping[str, float]] = None,
    origin: Pairs = (),
) -> Page:
    """The page of transcribed recordings.

    With references, the summary counts all results, and up to 20 are shown in detail. Without references, up to 20
    recordings, spread evenly over all, are decoded again by `rows` and by the methods that METHODS marks as compared,
    and the page compares their texts.

    Args:
      results: pairs of a recording, its path or its samples (N,) at 16 kHz, and its result.
      rows: the methods and their options, in order.
      resources: LM, graph, grammar and hotwords of the searches.
      seconds: time of "encoder" and of the search of each row's label; given if and only if the results have
        references and hypotheses.
      origin: what made the page, of `hainan_k2.report.origin`.
    """
    model, pieces, watch = recognizer.model, recognizer.tokenizer.pieces, Stopwatch(synchronise=True)
    referenced, options = seconds is not None, rows[0].options
    if not referenced:
        able = [name for name, method in METHODS.items() if method.compared and not _why_not(method, model)]
        rows = [row for row in rows if not METHODS[row.method].oracle]
        rows += [Row(name, name, options) for name in able if name not in [row.method for row in rows]]
    shown, details = [], {}
    for file, decoded in evenly(results):
        samples = file if isinstance(file, np.ndarray) else read_audio(file)
        if not referenced:
            decoded = Decoded(decoded.id, "", decoded.seconds, {}, {}, decoded.normalise)
            (outcomes,) = recognizer.decode([file], rows, resources, watch=watch)
            for row, outcome in zip(rows, outcomes):
                if outcome.hypothesis is None:
                    decoded.failures[row.label] = outcome.failure
                else:
                    decoded.hypotheses[row.label] = outcome.hypothesis
        paths: tuple[Hypothesis, ...] = ()
        if not _why_not(METHODS["nbest"], model) and decoded.seconds <= LATTICE_SECONDS:
            encoded = recognizer.encode([samples])
            ((best,),) = search_batch(model, *encoded, [_lattice_row(options)], resources, [decoded.id])
            paths = () if isinstance(best, str) else best.with_words(pieces, audio_seconds=decoded.seconds).alternatives
        shown.append(decoded)
        details[decoded.id] = Detail(samples, paths)
    return Page(
        "Transcripts",
        tuple(row.label for row in rows),
        [decoded for _, decoded in results] if referenced else shown,
        pieces,
        details,
        watch.seconds if seconds is None else seconds,
        (("recordings", f"{len(shown)} of {len(results)}"), *facts(model)),
        references=referenced,
        origin=origin,
    )


def evenly(items: Sequence[Item]) -> list[Item]:
    """SHOWN items, evenly spaced, the first and the last included; all items if there are fewer.

    >>> len(evenly(range(1000)))
    20
    """
    return [items[i] for i in sorted({round(x) for x in np.linspace(0, len(items) - 1, min(SHOWN, len(items)))})]


def facts(model: Hainan) -> Pairs:
    """(name, value) pairs about a model, printed under the title."""
    size = sum(p.numel() for p in model.parameters()) / 1e6
    return (
        ("encoder", model.config.encoder),
        ("parameters", f"{size:.1f} M"),
        ("device", str(next(model.parameters()).device)),
    )


def samples_of(cut: Cut) -> Optional[np.ndarray]:
    """Samples (N,) of a lhotse cut at 16 kHz; None if it has features but no recording."""
    return cut.resample(SAMPLING_RATE).load_audio()[0] if cut.has_recording else None


def lattice_paths(
    model: Hainan,
    cuts: CutSet,
    tokenizer: Tokenizer,
    resources: DecodingResources,
    options: SearchConfig,
    windows: Windows = DEFAULT_WINDOWS,
) -> dict[str, tuple[Hypothesis, ...]]:
    """The most probable texts of each cut's lattice, with words, by id; a warning and none where it cannot be built."""
    why = _why_not(METHODS["nbest"], model)
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


def _why_not(method: Method, model: Hainan) -> str:
    """Why the method cannot run here or is of no use for the model; empty where it can."""
    if untrained(method, model.config):
        return "the encoder-only joint of this model is not trained"
    return why_unsuitable(method, model.config, METHODS) or (why_no_k2() if method.needs_k2 else "")


def _lattice_row(options: SearchConfig) -> Row:
    return Row("nbest", "nbest", replace(options, nbest=PATHS, num_paths=max(options.num_paths, PATHS)))


def write_page(path: Path, page: Page) -> None:
    """Write the HTML file, with its folder if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(page), encoding="utf-8")
    logger.info("report: %s, %.1f MB", path, path.stat().st_size / 1e6)
