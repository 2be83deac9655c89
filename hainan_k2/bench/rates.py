"""Rates of this machine that decide how training and decoding scale: `python hainan_k2/bench.py rates --cuts ...`.

Computing is measured in CPU time on one thread, so that other programs do not matter, or in seconds on a CUDA device;
the all-reduce and the disk in seconds. `bench.py plan` reads the file of --out.
"""

from __future__ import annotations

import itertools
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median, pstdev
from typing import Any, Optional

import torch
import torch.distributed as dist
import torch.multiprocessing

from hainan_k2.bench.decode import random_model
from hainan_k2.bench.measure import describe
from hainan_k2.cli import errors_in_one_line, parse, start_logging
from hainan_k2.config import PRESETS, ModelConfig, option
from hainan_k2.data.batch import Batch
from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.data.cuts import open_cuts
from hainan_k2.data.datamodule import train_sampler
from hainan_k2.device import pick_device
from hainan_k2.files.jsonl import write_lines
from hainan_k2.formats.checkpoint import save_checkpoint
from hainan_k2.inference.engine import decode_batches
from hainan_k2.model.hainan import Hainan
from hainan_k2.search.sweep import make_rows
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.training.objective import LossConfig
from hainan_k2.training.optim import OptimConfig, make_optimizer
from hainan_k2.training.progress import TrainingProgress
from hainan_k2.training.ranks import Ranks
from hainan_k2.training.updater import Updater

logger = logging.getLogger(__name__)

LABELS_PER_SECOND = 3.0  # of speech, with 500 BPE tokens
VOCAB_SIZE = 500


@dataclass(frozen=True)
class Rates:
    """What was measured, on a device or on one CPU thread unless told otherwise.

    Args:
      train, ar, nar: seconds of audio per second: updates of the weights; encoder and AR or NAR greedy search.
      spread: standard deviation among batches of the seconds of an update, for the same audio, divided by their mean.
      load: seconds of audio per second that one loader process reads and computes the features of.
      cuts: cuts per second that the sampler passes, and their metadata per second alone.
      stored: bytes of a second of audio in its files; cut_seconds: length of the mean cut.
      all_reduce: bytes per second between two processes of this machine, by gloo; agreement: seconds in which they
        exchange a small result (Ranks.agreed).
      disk: bytes per second of a checkpoint; checkpoint: its bytes, without the running average of the weights.
    """

    machine: str
    preset: str
    parameters: int
    train: float
    spread: float
    ar: float
    nar: float
    load: float
    cuts: float
    metadata: float
    stored: float
    cut_seconds: float
    all_reduce: float
    agreement: float
    disk: float
    checkpoint: int


@dataclass(frozen=True)
class RatesConfig:
    cuts: str = option(MISSING, "cuts to measure with, .jsonl.gz, without features; a few hundred suffice")
    out: str = option("rates.jsonl", "file that gets a line per preset")
    preset: tuple[str, ...] = option(("S",), "sizes of the model, comma between", tuple(PRESETS))
    max_duration: float = option(100.0, "seconds of audio per batch, padding included", above=0)
    batches: int = option(5, "batches to measure, after one to warm up", at_least=2, at_most=1000)
    device: str = option("cpu", "cpu, cuda, cuda:1 ...")

    help_title, help_example = "options", "--cuts cuts_dev.jsonl.gz"


def measure_rates(config: RatesConfig) -> list[Rates]:
    """Measure everything for every preset. Raises ValueError where the cuts do not suffice."""
    torch.set_num_threads(1)
    device = pick_device(config.device)
    clock = time.process_time if device.type == "cpu" else _cuda_clock
    data_config = DataConfig(max_duration=config.max_duration, num_workers=0, num_buckets=5)
    every = []
    for preset in config.preset:
        model_config = ModelConfig.preset(preset, vocab_size=VOCAB_SIZE)
        data = EvaluationData(config.cuts, data_config, model_config)
        batches, load = _read(data, config.batches + 1)
        train, spread, parameters, disk, checkpoint = _train(model_config, batches, device, clock)
        ar, nar = _decode(preset, batches[1:], device, clock)
        rates = Rates(
            describe(device),
            preset,
            parameters,
            train,
            spread,
            ar,
            nar,
            load,
            *_sampling(config.cuts, data_config),
            *_stored(config.cuts),
            *between_processes(4 * parameters),
            disk,
            checkpoint,
        )
        logger.info("%s", rates)
        every.append(rates)
    return every


def _cuda_clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def _read(data: EvaluationData, count: int) -> tuple[list[Batch], float]:
    start = time.process_time()
    batches = list(itertools.islice(data, count))
    seconds = time.process_time() - start
    if len(batches) < count:
        raise ValueError(f"{data.cuts}: {len(batches)} batches, {count} are needed: lower --max-duration or --batches")
    return batches, sum(sum(batch.seconds) for batch in batches) / seconds


def _train(
    config: ModelConfig, batches: Sequence[Batch], device: torch.device, clock: Callable[[], float]
) -> tuple[float, float, int, float, int]:
    """Seconds of audio per second of an update, their spread, parameters, and speed and size of a checkpoint."""
    torch.manual_seed(0)
    model = Hainan(config).to(device)
    optimizer, progress = make_optimizer(model, OptimConfig()), TrainingProgress()
    updater = Updater(model, optimizer, LossConfig(), 5.0, "float32", 0, Ranks(device=device), Stopwatch())
    times = []
    for batch in batches:
        lens = torch.tensor([int(LABELS_PER_SECOND * seconds) for seconds in batch.seconds])
        targets = torch.randint(1, VOCAB_SIZE, (len(lens), int(lens.max())))
        start = clock()
        updater.update([replace(batch, targets=targets, target_lens=lens)], int(lens.sum()), progress)
        times.append((clock() - start) / sum(batch.seconds))
        progress.updates += 1
    times = times[1:]
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        save_checkpoint(Path(folder) / "a.safetensors", state)
        seconds, size = time.perf_counter() - start, os.path.getsize(Path(folder) / "a.safetensors")
    parameters = sum(p.numel() for p in model.parameters())
    return 1 / mean(times), pstdev(times) / mean(times), parameters, size / seconds, size


def _decode(
    preset: str, batches: Sequence[Batch], device: torch.device, clock: Callable[[], float]
) -> tuple[float, float]:
    """Seconds of audio per second of AR and of NAR greedy decoding, encoder included."""
    model, pieces = random_model(preset, VOCAB_SIZE).to(device), [str(i) for i in range(VOCAB_SIZE)]
    audio, speeds = sum(sum(batch.seconds) for batch in batches), []
    for method in ("ar-greedy", "nar-greedy"):
        start = clock()
        for _ in decode_batches(model, batches, make_rows([method]), pieces, Stopwatch()):
            pass
        speeds.append(audio / (clock() - start))
    return speeds[0], speeds[1]


def _sampling(cuts: str, config: DataConfig) -> tuple[float, float]:
    """Cuts per second that the sampler passes, and that are only read."""
    sampler = train_sampler(open_cuts(cuts), config, (), seed=0, epoch=1)
    start = time.process_time()
    passed = sum(len(batch) for batch in sampler)
    sampling, start = time.process_time() - start, time.process_time()
    listed = sum(1 for _ in open_cuts(cuts, metadata=True))
    return passed / sampling, listed / (time.process_time() - start)


def _stored(cuts: str) -> tuple[float, float]:
    """Bytes of files per second of audio, and seconds of the mean cut."""
    paths: dict[str, float] = {}
    lengths = []
    for cut in open_cuts(cuts):
        lengths.append(cut.duration)
        if cut.has_recording:
            paths.update({str(s.source): cut.recording.duration for s in cut.recording.sources if s.type == "file"})
    sizes = sum(os.path.getsize(path) for path in paths)
    return (sizes / sum(paths.values()) if paths else 0.0), mean(lengths)


def between_processes(size: int, repeats: int = 5) -> tuple[float, float]:
    """Bytes per second in which gloo sums `size` bytes between two processes of this machine, and the seconds of an
    agreement."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_exchange, (folder, size, repeats), nprocs=2)
        summing, agreement = map(float, (Path(folder) / "seconds").read_text().split())
    return size / summing, agreement


def _exchange(rank: int, folder: str, size: int, repeats: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    value, ranks = torch.ones(size // 4), Ranks(rank, 2)
    medians = []
    for step in (lambda: dist.all_reduce(value), lambda: ranks.agreed(lambda: rank)):
        times = []
        for _ in range(repeats + 1):
            dist.barrier()
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        medians.append(median(times[1:]))
    if rank == 0:
        (Path(folder) / "seconds").write_text("{} {}".format(*medians))
    ranks.close()


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Measure the rates that decide how training and decoding scale.", RatesConfig)
    start_logging()
    with errors_in_one_line():
        rates = measure_rates(config)
        write_lines(config.out, map(asdict, rates))
    for line in rates:
        print("\n".join(f"{name:12s} {_shown(value)}" for name, value in asdict(line).items()) + "\n")


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
