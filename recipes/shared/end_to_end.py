"""CPU seconds of whole decodings, encoder and search, by method, and their ratios to the last method:

    python recipes/shared/end_to_end.py --exp-dir exp --cuts cuts_test.jsonl.gz --method nar-greedy,ctc-greedy

The batches are read once, and the methods take turns, so that what else the machine does meets all of them. Printed are
medians over the repeats, and the median of the ratios with the 95 % interval of their mean (Student's t).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import option
from hainan_k2.data.batch import Batch
from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.formats.checkpoint import load_model, select_checkpoints
from hainan_k2.inference.engine import encode_batch
from hainan_k2.model.hainan import Hainan
from hainan_k2.search import METHODS, SearchConfig, choose_methods


@dataclass(frozen=True)
class EndToEndConfig:
    exp_dir: str = option("exp", "experiment folder of train.py")
    cuts: str = option("", "lhotse cuts, .jsonl.gz")
    method: tuple[str, ...] = option(("nar-greedy", "ctc-greedy"), "methods, comma between; ratios are to the last")
    repeats: int = option(5, "timed turns, after one to warm up", at_least=2)
    max_duration: float = option(200.0, "seconds of audio in a batch, padding included", above=0)

    help_title = "options"


@torch.no_grad()
def decode(model: Hainan, batches: Sequence[Batch], method: str) -> float:
    """CPU seconds of decoding all batches."""
    begin = time.process_time()
    for batch in batches:
        encoder_out, lens = encode_batch(model, batch)
        METHODS[method].function(model, encoder_out, lens, SearchConfig())
    return time.process_time() - begin


def measure(model: Hainan, batches: Sequence[Batch], methods: Sequence[str], repeats: int) -> dict[str, list[float]]:
    """CPU seconds by method, one number per turn. Every other turn goes through the methods backwards."""
    seconds: dict[str, list[float]] = {method: [] for method in methods}
    for turn in range(-1, repeats):
        for method in methods if turn % 2 else reversed(methods):
            spent = decode(model, batches, method)
            if turn >= 0:
                seconds[method].append(spent)
    return seconds


def report(seconds: dict[str, list[float]]) -> list[str]:
    """A line per method: median seconds, and the ratio to the last method."""
    from scipy.stats import t

    *_, last = seconds.values()
    lines = []
    for method, own in seconds.items():
        ratios = [a / b for a, b in zip(own, last)]
        half = float(t.ppf(0.975, len(ratios) - 1)) * stdev(ratios) / len(ratios) ** 0.5
        line = f"{method:12s} {median(own):8.3f} s   ratio {median(ratios):.3f} ({mean(ratios) - half:.3f} - "
        lines.append(f"{line}{mean(ratios) + half:.3f})")
    return lines


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Time whole decodings.", EndToEndConfig)
    with errors_in_one_line():
        if not config.cuts or not config.method:
            raise ValueError("--cuts and --method are required")
        model, _ = load_model(select_checkpoints(Path(config.exp_dir), None, 1))
        methods = choose_methods(config.method, model=model.config)
        torch.set_num_threads(1)
        data = EvaluationData(config.cuts, DataConfig(max_duration=config.max_duration, num_workers=0), model.config)
        batches = list(data)
        audio = sum(sum(batch.seconds) for batch in batches)
        print(f"{audio / 60:.1f} minutes of audio, one thread, torch {torch.__version__}, {config.repeats} turns")
        print("\n".join(report(measure(model, batches, methods, config.repeats))))


if __name__ == "__main__":
    main()
