"""AR greedy search by speculative decoding and by label-looping: `python hainan_k2/bench.py speculative AUDIO...`.

Both search the same encoder outputs, in turn. Their results are compared: tokens, frames and durations must be equal.
Printed for every batch size: the CPU seconds of each over all recordings (medians over the repeats) and their ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Optional

import torch
from torch.nn.utils.rnn import pad_sequence

from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import option
from hainan_k2.frontend.audio import read_audio
from hainan_k2.inference.inputs import Inputs
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.search.emissions import Emissions, Frames
from hainan_k2.search.greedy import ar_walk, label_looping

MAX_SYMBOLS = 10  # tokens on a frame, the default of the search


@dataclass(frozen=True)
class SpeculativeBenchConfig:
    """Options of `bench.py speculative`."""

    help_title = "benchmark options"

    audio: tuple[str, ...] = option((), "audio files and folders", positional=True)
    model: str = option("released", "model directory; released: the one that comes with the package")
    batch_sizes: tuple[int, ...] = option((1, 4, 8, 16, 32), "utterances in a batch, comma between", at_least=1)
    threads: int = option(1, "CPU threads", at_least=1, at_most=1024)
    repeats: int = option(5, "timed runs; the median counts", at_least=1)


@torch.no_grad()
def run(config: SpeculativeBenchConfig) -> list[str]:
    """The lines of the table. ValueError for audio or a model that cannot be read."""
    if not config.audio or not config.batch_sizes:
        raise ValueError("name audio files or folders, and at least one of --batch-sizes")
    torch.set_num_threads(config.threads)
    recognizer = Recognizer.load(config.model, "cpu")
    model = recognizer.model
    inputs = list(Inputs(config.audio, lambda path: False))
    failures = [item.failure for item in inputs if item.failure]
    if failures or not inputs:
        raise ValueError(failures[0] if failures else "the folders hold no audio files")
    encoded = [recognizer.encode([read_audio(item.path)])[0][0] for item in inputs]
    lines = [
        f"{len(encoded)} recordings, {config.threads} threads",
        "batch  label-looping s  speculative s  ratio  equal",
    ]
    for size in config.batch_sizes:
        batches = []
        for first in range(0, len(encoded), size):
            part = encoded[first : first + size]
            frames = Frames.pack(pad_sequence(part, batch_first=True), torch.tensor([len(e) for e in part]))
            batches.append(frames.map(model.joiner.project_encoder))
        seconds: dict[str, list[float]] = {"looping": [], "speculative": []}
        for _ in range(config.repeats):
            spent, looped = timed(lambda f: label_looping(model, f, MAX_SYMBOLS), batches)
            seconds["looping"].append(spent)
            spent, drafted = timed(lambda f: ar_walk(model, f, MAX_SYMBOLS, speculative=len(f.lens)), batches)
            seconds["speculative"].append(spent)
        equal = sum(map(same, looped, drafted))
        ratio = median(b / a for a, b in zip(seconds["looping"], seconds["speculative"]))
        lines.append(
            f"{size:5d} {median(seconds['looping']):16.3f} {median(seconds['speculative']):14.3f} {ratio:6.2f}  "
            f"{equal} of {len(batches)} batches"
        )
    return lines


def timed(search: Callable[[Frames], Emissions], batches: Sequence[Frames]) -> tuple[float, list[Emissions]]:
    """CPU seconds of the search over all batches, and its results."""
    begin = time.process_time()
    results = [search(frames) for frames in batches]
    return time.process_time() - begin, results


def same(one: Emissions, other: Emissions) -> bool:
    """Whether utterances, tokens, frames and durations are equal."""
    names = ("utterance", "token", "frame", "duration")
    return all(getattr(one, name).tolist() == getattr(other, name).tolist() for name in names)


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Compare speculative decoding with label-looping.", SpeculativeBenchConfig)
    with errors_in_one_line():
        print("\n".join(run(config)))
