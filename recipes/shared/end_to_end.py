"""Time and memory of whole decodings, encoder and search, by method, batch size and threads, as a Markdown table:

    python recipes/shared/end_to_end.py --exp-dir exp --cuts cuts_test.jsonl.gz --method nar-greedy,ctc-greedy \\
        --batch-sizes 1,8,32,64 --threads 1,2

The batches are read once, and the methods take turns, so that what else the machine does meets all of them.

CPU s, wall s   medians over the repeats; wall time is that of the machine as it is loaded
RTF             real-time factor: wall seconds over seconds of audio
ratio           of CPU seconds to those of the last method: median, and the 95 % interval of the mean (Student's t)
peak MB         memory above what was in use before, batches and model included there
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean, median, stdev
from typing import NamedTuple, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from hainan_k2.bench.memory import peak, watch_peak
from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import option
from hainan_k2.data.batch import Batch
from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.formats.checkpoint import load_model, select_checkpoints
from hainan_k2.inference.engine import encode_batch
from hainan_k2.model.hainan import Hainan
from hainan_k2.search import METHODS, SearchConfig, choose_methods

CPU = torch.device("cpu")


@dataclass(frozen=True)
class EndToEndConfig:
    exp_dir: str = option("exp", "experiment folder of train.py")
    cuts: str = option("", "lhotse cuts, .jsonl.gz")
    method: tuple[str, ...] = option(("nar-greedy", "ctc-greedy"), "methods, comma between; ratios are to the last")
    repeats: int = option(5, "timed turns, after one to warm up", at_least=2)
    max_duration: float = option(200.0, "seconds of audio in a batch, padding included", above=0)
    batch_sizes: tuple[int, ...] = option((0,), "utterances in a batch, comma between; 0: --max-duration", at_least=0)
    threads: tuple[int, ...] = option((1,), "CPU threads, comma between", at_least=1, at_most=1024)

    help_title = "options"

    def __post_init__(self) -> None:
        if not self.batch_sizes or not self.threads:
            raise ValueError("--batch-sizes and --threads have a value each")


class Spent(NamedTuple):
    """Seconds of a decoding, and the MB that it needs at its peak; None where the system does not report them."""

    cpu: float
    wall: float
    peak_mb: Optional[float] = None


def in_batches(batches: Sequence[Batch], size: int) -> list[Batch]:
    """The utterances of `batches` in batches of `size`, sorted by length; `batches` themselves for size 0."""
    if not size:
        return list(batches)
    rows = [(batch, i) for batch in batches for i in range(len(batch.ids))]
    rows.sort(key=lambda row: int(row[0].lens[row[1]]))
    groups = [rows[i : i + size] for i in range(0, len(rows), size)]
    return [
        replace(
            group[0][0],
            features=torch.nn.utils.rnn.pad_sequence([b.features[i, : b.lens[i]] for b, i in group], batch_first=True),
            lens=torch.stack([b.lens[i] for b, i in group]),
            ids=tuple(b.ids[i] for b, i in group),
            texts=tuple(b.texts[i] for b, i in group),
            seconds=tuple(b.seconds[i] for b, i in group),
        )
        for group in groups
    ]


@torch.no_grad()
def decode(model: Hainan, batches: Sequence[Batch], method: str, watched: bool = False) -> Spent:
    """Decode all batches; `watched` measures memory, which takes time."""
    before = watch_peak(CPU) if watched else None
    wall, cpu = time.monotonic(), time.process_time()
    for batch in batches:
        encoder_out, lens = encode_batch(model, batch)
        METHODS[method].function(model, encoder_out, lens, SearchConfig())
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    return Spent(cpu, wall, None if before is None else peak(CPU) - before)


def measure(model: Hainan, batches: Sequence[Batch], methods: Sequence[str], repeats: int) -> dict[str, list[Spent]]:
    """By method, what the turn to warm up and every timed one spent. Every other turn goes through the methods
    backwards; memory is measured in the first."""
    spent: dict[str, list[Spent]] = {method: [] for method in methods}
    for turn in range(-1, repeats):
        for method in methods if turn % 2 else reversed(methods):
            spent[method].append(decode(model, batches, method, watched=turn < 0))
    return spent


def report(spent: dict[str, list[Spent]], audio: float) -> list[list[str]]:
    """A row per method: CPU seconds, wall seconds, real-time factor, ratio to the last method, peak MB.

    Args:
      audio: seconds of audio.
    """
    from scipy.stats import t

    *_, last = spent.values()
    rows = []
    for method, (first, *timed) in spent.items():
        ratios = [a.cpu / b.cpu for a, b in zip(timed, last[1:])]
        half = float(t.ppf(0.975, len(ratios) - 1)) * stdev(ratios) / len(ratios) ** 0.5
        wall = median(s.wall for s in timed)
        seconds = f"{median(s.cpu for s in timed):.3f}", f"{wall:.3f}", f"{wall / audio:.5f}"
        ratio = f"{median(ratios):.3f} ({mean(ratios) - half:.3f} - {mean(ratios) + half:.3f})"
        rows.append([method, *seconds, ratio, "" if first.peak_mb is None else f"{first.peak_mb:.0f}"])
    return rows


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Time whole decodings.", EndToEndConfig)
    with errors_in_one_line():
        if not config.cuts or not config.method:
            raise ValueError("--cuts and --method are required")
        model, _ = load_model(select_checkpoints(Path(config.exp_dir), None, 1))
        methods = choose_methods(config.method, model=model.config)
        data = EvaluationData(config.cuts, DataConfig(max_duration=config.max_duration, num_workers=0), model.config)
        batches = list(data)
        audio = sum(sum(batch.seconds) for batch in batches)
        print(f"{audio / 60:.1f} minutes of audio, torch {torch.__version__}, {config.repeats} turns", flush=True)
        head = ["threads", "batch", "method", "CPU s", "wall s", "RTF", f"ratio to {methods[-1]}", "peak MB"]
        for row in (head, ["---"] * len(head)):
            print(f"| {' | '.join(row)} |")
        for threads, size in product(config.threads, config.batch_sizes):
            torch.set_num_threads(threads)
            grouped = in_batches(batches, size)
            for row in report(measure(model, grouped, methods, config.repeats), audio):
                name = str(size) if size else f"{config.max_duration:g} s"
                print(f"| {' | '.join([str(threads), name, *row])} |", flush=True)


if __name__ == "__main__":
    main()
