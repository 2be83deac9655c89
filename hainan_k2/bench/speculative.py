"""AR greedy search by speculative decoding and by label-looping: `python hainan_k2/bench.py speculative AUDIO...`.

Both search the same encoder outputs, in turn, up to the hypotheses. Their results are compared: tokens, frames and
durations must be equal. Printed for every batch size: the CPU seconds of each over all recordings (medians over the
repeats) and their ratio. With `--nemo`, NeMo's batched greedy search is a third, with the same weights: its seconds,
those of ours (by batch size the faster of the two) divided into them, and the recordings with equal tokens and frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Optional

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hainan_k2.bench.nemo_search import nemo_greedy
from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import option
from hainan_k2.frontend.audio import read_audio
from hainan_k2.inference.inputs import Inputs
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search.emissions import Emissions, Frames
from hainan_k2.search.greedy import SPECULATIVE, ar_walk, label_looping

Search = Callable[[Tensor, Tensor], Sequence[Any]]  # encoder output (B, T, C), lens (B,) -> one result per utterance
MAX_SYMBOLS = 10  # tokens on a frame, the default of the search


@dataclass(frozen=True)
class SpeculativeBenchConfig:
    """Options of `bench.py speculative`."""

    help_title = "benchmark options"

    audio: tuple[str, ...] = option((), "audio files and folders", positional=True)
    model: str = option("released", "model directory; released: the one that comes with the package")
    batch_sizes: tuple[int, ...] = option((1, 4, 8, 16, 32), "utterances in a batch, comma between", at_least=1)
    device: str = option("cpu", "cpu, or cuda: there the seconds are those of the clock, with all kernels finished")
    threads: int = option(1, "CPU threads", at_least=1, at_most=1024)
    repeats: int = option(5, "timed runs; the median counts", at_least=1)
    nemo: bool = option(False, "time NeMo's GreedyBatchedTDTInfer beside them; needs NeMo")


@torch.no_grad()
def run(config: SpeculativeBenchConfig) -> list[str]:
    """The lines of the table. ValueError for audio or a model that cannot be read."""
    if not config.audio or not config.batch_sizes:
        raise ValueError("name audio files or folders, and at least one of --batch-sizes")
    torch.set_num_threads(config.threads)
    recognizer = Recognizer.load(config.model, config.device)
    model = recognizer.model
    inputs = list(Inputs(config.audio, lambda path: False))
    failures = [item.failure for item in inputs if item.failure]
    if failures or not inputs:
        raise ValueError(failures[0] if failures else "the folders hold no audio files")
    encoded = [recognizer.encode([read_audio(item.path)])[0][0] for item in inputs]
    nemo = nemo_greedy(model, MAX_SYMBOLS) if config.nemo else None
    searches: dict[str, Search] = {
        "looping": lambda e, lens: _hypotheses(model, e, lens, lambda f: label_looping(model, f, MAX_SYMBOLS)),
        "speculative": lambda e, lens: _hypotheses(
            model, e, lens, lambda f: ar_walk(model, f, MAX_SYMBOLS, speculative=len(f.lens))
        ),
        **({"nemo": nemo} if nemo else {}),
    }
    lines = [
        f"{len(encoded)} recordings, {config.threads} threads, torch {torch.__version__}",
        "batch  label-looping s  speculative s  ratio  equal" + "       NeMo s  NeMo/ours  equal" * config.nemo,
    ]
    for size in config.batch_sizes:
        parts = [encoded[first : first + size] for first in range(0, len(encoded), size)]
        batches = [
            (pad_sequence(part, batch_first=True), torch.tensor([len(e) for e in part], device=part[0].device))
            for part in parts
        ]
        seconds: dict[str, list[float]] = {name: [] for name in searches}
        results: dict[str, list[Any]] = {}
        for _ in range(config.repeats):
            for name, search in searches.items():
                spent, results[name] = timed(search, batches)
                seconds[name].append(spent)
        middle = {name: median(of_name) for name, of_name in seconds.items()}
        ratio = median(b / a for a, b in zip(seconds["looping"], seconds["speculative"]))
        equal = sum(tokens(a) == tokens(b) for a, b in zip(results["looping"], results["speculative"]))
        line = (
            f"{size:5d} {middle['looping']:16.3f} {middle['speculative']:14.3f} {ratio:6.2f}  {equal} of {len(encoded)}"
        )
        if nemo:
            times = zip(seconds["nemo"], seconds["speculative" if size <= SPECULATIVE else "looping"])
            agreed = sum(tokens(a)[:2] == b for a, b in zip(results["looping"], results["nemo"]))
            ratio = median(theirs / ours for theirs, ours in times)
            line += f" {middle['nemo']:12.3f} {ratio:10.2f}  {agreed} of {len(encoded)}"
        lines.append(line)
    return lines


def _hypotheses(
    model: Hainan, encoder_out: Tensor, lens: Tensor, walk: Callable[[Frames], Emissions]
) -> list[Hypothesis]:
    frames = Frames.pack(encoder_out, lens).map(model.joiner.project_encoder)
    return walk(frames).hypotheses(lens)


def timed(search: Search, batches: Sequence[tuple[Tensor, Tensor]]) -> tuple[float, list[Any]]:
    """Seconds of the search over all batches, and its results."""
    on_gpu = batches[0][0].is_cuda
    now = time.perf_counter if on_gpu else time.process_time
    begin = now()
    results = [search(*batch) for batch in batches]
    if on_gpu:
        torch.cuda.synchronize()
    return now() - begin, [result for batch in results for result in batch]


def tokens(hypothesis: Hypothesis) -> tuple[list[int], list[int], list[int]]:
    """Tokens, frames and durations."""
    columns = ((t.id, t.frame, t.duration) for t in hypothesis.tokens)
    ids, frames, durations = map(list, zip(*columns)) if hypothesis.tokens else ([], [], [])
    return ids, frames, durations


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Compare speculative decoding with label-looping.", SpeculativeBenchConfig)
    with errors_in_one_line():
        print("\n".join(run(config)))
