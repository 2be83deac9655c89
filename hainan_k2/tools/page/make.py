"""Pages of a decoding run and of transcripts."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from statistics import mean
from typing import Optional

import numpy as np
from lhotse import CutSet

from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.frontend.datamodule import DataConfig, open_cuts
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search import Knowledge, SearchConfig
from hainan_k2.text import Tokenizer
from hainan_k2.tools.batches import EvaluationData
from hainan_k2.tools.evaluate import Decoded, decode_batches
from hainan_k2.tools.page.content import Detail, Page
from hainan_k2.tools.page.render import render
from hainan_k2.tools.stopwatch import Stopwatch
from hainan_k2.tools.sweep import Row

SHOWN = 20  # utterances of a set that are shown one by one
PATHS = 8  # texts of each of their lattices


def write_decoding(path: Path, model: Hainan, cuts: str, decoded: Sequence[Decoded], rows: Sequence[Row],
                   seconds: Mapping[str, Sequence[float]], tokenizer: Tokenizer, knowledge: Knowledge) -> None:
    """The page of all that was decoded of `cuts`; twenty utterances, evenly over the order of decoding, in detail.

    seconds: of "encoder" and of every row's label, a number per repeat.
    """
    ids = [decoded[i].id for i in sorted({round(x) for x in np.linspace(0, len(decoded) - 1, min(SHOWN, len(decoded)))})]
    some = CutSet.from_cuts(cut for cut in open_cuts(cuts) if cut.id in set(ids))
    paths = lattice_paths(model, some, tokenizer, knowledge, rows[0].options)
    details = {cut.id: Detail(samples_of(cut), paths.get(cut.id, ())) for cut in some}
    labels = tuple(row.label for row in rows)
    page = Page(f"Recognition of {Path(cuts).name}", labels, decoded, tokenizer.pieces, details,
                {name: mean(values) for name, values in seconds.items()},
                (("model", f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters"),
                 ("device", str(next(model.parameters()).device))))
    write_page(path, page)


def samples_of(cut) -> Optional[np.ndarray]:
    """Samples (N,) at 16 kHz of a lhotse cut; None where it has stored features alone."""
    return cut.resample(SAMPLING_RATE).load_audio()[0] if cut.has_recording else None


def lattice_paths(model: Hainan, cuts: CutSet, tokenizer: Tokenizer, knowledge: Knowledge, options: SearchConfig
                  ) -> dict[str, tuple[Hypothesis, ...]]:
    """By id, the most probable texts of every cut's lattice with their words; none, and a warning, without k2."""
    if importlib.util.find_spec("k2") is None:
        logging.warning("k2 is not installed: the page shows no lattices")
        return {}
    row = Row("nbest", "nbest", replace(options, nbest=PATHS, num_paths=max(options.num_paths, PATHS)))
    data = EvaluationData(cuts, DataConfig(max_duration=60.0, num_workers=0), model.config)
    decoded = chain.from_iterable(decode_batches(model, data, [row], tokenizer.pieces, Stopwatch(), knowledge))
    return {d.id: d.hypotheses["nbest"].alternatives for d in decoded if d.hypotheses}


def write_page(path: Path, page: Page) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(page), encoding="utf-8")
    logging.info("report: %s, %.1f MB", path, path.stat().st_size / 1e6)
