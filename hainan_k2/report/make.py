"""Pages of a decoding run and of transcripts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Optional

import numpy as np
from lhotse import CutSet

from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.data.cuts import open_cuts
from hainan_k2.frontend.audio import SAMPLING_RATE, read_audio
from hainan_k2.fsa.k2 import why_no_k2
from hainan_k2.inference.batch_search import search_batch
from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.engine import encode_batch
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS, Windows
from hainan_k2.model.hainan import Hainan
from hainan_k2.report.content import Detail, Page
from hainan_k2.report.render import render
from hainan_k2.result import Hypothesis
from hainan_k2.search import METHODS, DecodingResources, SearchConfig
from hainan_k2.search.sweep import Row
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.text.tokenizer import Tokenizer

SHOWN = 20  # utterances that are shown one by one
PATHS = 8  # texts of each of their lattices
LATTICE_SECONDS = 60.0  # of longer recordings no lattice is drawn: it needs much memory, and nobody could read it


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
) -> None:
    """The page of all that was decoded of `cuts`; twenty utterances, evenly over the order of decoding, in detail.

    seconds: of "encoder" and of every row's label, a number per repeat.
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
        ),
    )


def write_transcription(
    path: Path,
    recognizer: Recognizer,
    results: Sequence[tuple[str, Decoded]],
    rows: Sequence[Row],
    resources: DecodingResources,
    seconds: Optional[Mapping[str, float]] = None,
) -> None:
    """The page of transcripts, `results` being paths of recordings and what was found in each.

    With `seconds` (of "encoder" and of every row's label, in all) the results have references and hypotheses: the page
    counts them all, and shows up to twenty. Without, it shows up to twenty, evenly over all, decoded anew by `rows` and
    by the common methods, to be compared with each other.
    """
    model, pieces, watch = recognizer.model, recognizer.tokenizer.pieces, Stopwatch(synchronise=True)
    referenced, options = seconds is not None, rows[0].options
    if not referenced:
        able = [name for name, method in METHODS.items() if method.compared and not (method.needs_k2 and why_no_k2())]
        rows = [row for row in rows if not METHODS[row.method].oracle]
        rows += [Row(name, name, options) for name in able if name not in [row.method for row in rows]]
    shown, details = [], {}
    for file, decoded in evenly(results):
        samples = read_audio(file)
        if not referenced:
            decoded = Decoded(decoded.id, "", decoded.seconds, {}, {})
            (outcomes,) = recognizer.decode([file], rows, resources, watch=watch)
            for row, outcome in zip(rows, outcomes):
                if outcome.hypothesis is None:
                    decoded.failures[row.label] = outcome.failure
                else:
                    decoded.hypotheses[row.label] = outcome.hypothesis
        paths: tuple[Hypothesis, ...] = ()
        if not why_no_k2() and decoded.seconds <= LATTICE_SECONDS:
            encoded = recognizer.encode([samples])
            ((best,),) = search_batch(model, *encoded, [_lattice_row(options)], resources, [decoded.id])
            paths = () if isinstance(best, str) else best.with_words(pieces, audio_seconds=decoded.seconds).alternatives
        shown.append(decoded)
        details[decoded.id] = Detail(samples, paths)
    page_facts = (("recordings", f"{len(shown)} of {len(results)}"), *facts(model))
    write_page(
        path,
        Page(
            "Transcripts",
            tuple(row.label for row in rows),
            [decoded for _, decoded in results] if referenced else shown,
            pieces,
            details,
            seconds if referenced else watch.seconds,
            page_facts,
            references=referenced,
        ),
    )


def evenly(items: Sequence) -> list:
    """Twenty of them, the first and the last among them; all if they are fewer."""
    return [items[i] for i in sorted({round(x) for x in np.linspace(0, len(items) - 1, min(SHOWN, len(items)))})]


def facts(model: Hainan) -> tuple[tuple[str, str], ...]:
    """What is told of a model."""
    size = sum(p.numel() for p in model.parameters()) / 1e6
    return (
        ("encoder", model.config.encoder),
        ("parameters", f"{size:.1f} M"),
        ("device", str(next(model.parameters()).device)),
    )


def samples_of(cut) -> Optional[np.ndarray]:
    """Samples (N,) at 16 kHz of a lhotse cut; None where it has stored features alone."""
    return cut.resample(SAMPLING_RATE).load_audio()[0] if cut.has_recording else None


def lattice_paths(
    model: Hainan,
    cuts: CutSet,
    tokenizer: Tokenizer,
    resources: DecodingResources,
    options: SearchConfig,
    windows: Windows = DEFAULT_WINDOWS,
) -> dict[str, tuple[Hypothesis, ...]]:
    """By id, the most probable texts of every cut's lattice with their words; none, and a warning, without k2."""
    if why_no_k2():
        logging.warning("the page shows no lattices: %s", why_no_k2())
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


def _lattice_row(options: SearchConfig) -> Row:
    return Row("nbest", "nbest", replace(options, nbest=PATHS, num_paths=max(options.num_paths, PATHS)))


def write_page(path: Path, page: Page) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(page), encoding="utf-8")
    logging.info("report: %s, %.1f MB", path, path.stat().st_size / 1e6)
