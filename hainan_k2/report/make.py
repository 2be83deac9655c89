"""The pages of decode.py and transcribe.py."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Optional, TypeVar

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut

from hainan_k2.data.cuts import open_cuts
from hainan_k2.frontend.audio import SAMPLING_RATE, read_audio
from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.inference.samples import Audio
from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS, Windows
from hainan_k2.model.hainan import Hainan
from hainan_k2.report.lattice_texts import paths_of_cuts, paths_of_recording, why_not
from hainan_k2.report.page import Detail, Page, Pairs
from hainan_k2.report.render import render
from hainan_k2.search import METHODS, DecodingResources
from hainan_k2.search.sweep import Row
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

SHOWN = 20  # utterances shown with sound, tokens and lattice

Item = TypeVar("Item")


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
    """Write the page of a decoding run: all utterances, 20 of them with sound, spectrogram and lattice.

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
    some, speakers = _cuts_of_page(cuts, {d.id for d in evenly(decoded)})
    paths = paths_of_cuts(model, CutSet.from_cuts(some), tokenizer, resources, rows[0].options, windows)
    page = Page(
        f"Recognition of {Path(cuts).name}",
        tuple(row.label for row in rows),
        decoded,
        tokenizer.pieces,
        details={cut.id: Detail(samples_of(cut), paths.get(cut.id, ())) for cut in some},
        seconds={name: mean(values) for name, values in seconds.items()},
        facts=facts(model),
        references=any(d.reference for d in decoded),
        origin=origin,
        speakers=speakers,
    )
    write_page(path, page)


def _cuts_of_page(cuts: str, shown: Set[str]) -> tuple[list[Cut], dict[str, str]]:
    """The cuts whose ids are in `shown`, and the speaker of every cut, by id."""
    some, speakers = [], {}
    for cut in open_cuts(cuts):
        speakers[cut.id] = speaker_of(cut)
        if cut.id in shown:
            some.append(cut)
    return some, speakers


def transcription_page(
    recognizer: Recognizer,
    results: Sequence[tuple[Audio, Decoded]],
    rows: Sequence[Row],
    resources: DecodingResources,
    seconds: Optional[Mapping[str, float]] = None,
    origin: Pairs = (),
) -> Page:
    """The page of transcribed recordings.

    With references it has all results, up to 20 of them with sound, spectrogram and lattice. Without references it has
    up to 20 recordings, spread evenly over all: they are decoded again by `rows` and by the methods that METHODS marks
    as compared, and the page compares their texts.

    Args:
      results: pairs of a recording, its path or its samples (N,) at 16 kHz, and its result.
      rows: the methods and their options, in order.
      resources: LM, graph, grammar and hotwords of the searches.
      seconds: time of "encoder" and of the search of each row's label; given if and only if the results have
        references and hypotheses.
      origin: what made the page, of `hainan_k2.report.origin`.
    """
    model, watch, referenced = recognizer.model, Stopwatch(synchronise=True), seconds is not None
    if not referenced:
        rows = _compared(rows, recognizer, resources)
    some, details = [], {}
    for file, decoded in evenly(results):
        if not referenced:
            decoded = _decode_again(recognizer, file, decoded, rows, resources, watch)
        some.append(decoded)
        samples = file if isinstance(file, np.ndarray) else read_audio(file)
        paths = paths_of_recording(recognizer, samples, decoded, resources, rows[0].options)
        details[decoded.id] = Detail(samples, paths)
    left_out = len(results) - len(some) if not referenced else 0
    return Page(
        "Transcripts",
        tuple(row.label for row in rows),
        [decoded for _, decoded in results] if referenced else some,
        recognizer.tokenizer.pieces,
        details,
        seconds=watch.seconds if seconds is None else seconds,
        facts=((("recordings left out", str(left_out)),) if left_out else ()) + facts(model),
        references=referenced,
        origin=origin,
    )


def _compared(rows: Sequence[Row], recognizer: Recognizer, resources: DecodingResources) -> list[Row]:
    """The rows without oracle methods, and the methods that METHODS marks as compared, calibrated as the model says."""
    able = [name for name, method in METHODS.items() if method.compared and not why_not(method, recognizer.model)]
    used, calibration = [row.method for row in rows], recognizer.defaults.calibration
    return [row for row in rows if not METHODS[row.method].oracle] + [
        Row(name, name, rows[0].options, calibration(name, resources)) for name in able if name not in used
    ]


def _decode_again(
    recognizer: Recognizer,
    file: Audio,
    decoded: Decoded,
    rows: Sequence[Row],
    resources: DecodingResources,
    watch: Stopwatch,
) -> Decoded:
    """The result of a recording by all `rows`, without a reference."""
    again = replace(decoded, reference="", hypotheses={}, failures={})
    (outcomes,) = recognizer.decode([file], rows, resources, watch=watch)
    for row, outcome in zip(rows, outcomes):
        if outcome.hypothesis is None:
            again.failures[row.label] = outcome.failure
        else:
            again.hypotheses[row.label] = outcome.hypothesis
    return again


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


def speaker_of(cut: Cut) -> str:
    """The speaker of a cut, or all of them, joined by commas; empty where unknown."""
    return ", ".join(sorted({str(s.speaker) for s in cut.supervisions if s.speaker}))


def write_page(path: Path, page: Page) -> None:
    """Write the HTML file, with its folder if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(page), encoding="utf-8")
    logger.info("report: %s, %.1f MB", path, path.stat().st_size / 1e6)
