"""A plan for more than one machine: training simulated with measured rates, `python hainan_k2/bench.py plan`.

A rank loads batches, computes, waits for the others, and sums gradients. The simulation adds the times of every update
for every rank, and says how much each part takes, so that one sees what limits training before paying for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np

from hainan_k2.bench.rates import Rates
from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import from_dict, option
from hainan_k2.files.jsonl import read_lines

UPDATES = 400  # that are simulated
AVERAGE = 8  # bytes per weight of the running average in a checkpoint
OVERLAP = 2 / 3  # share of an update's computing, the backward pass, during which gradients are summed already


@dataclass(frozen=True)
class PlanConfig:
    """What is planned, and what cannot be measured on one machine."""

    help_title, help_example = "options", "--rates rates.jsonl"

    rates: str = option("rates.jsonl", "file of bench.py rates")
    ranks: tuple[int, ...] = option((1, 2, 8, 64, 512), "numbers of processes, comma between", at_least=1)
    per_machine: int = option(8, "processes on a machine", at_least=1)
    hours: tuple[float, ...] = option((960.0, 10_000.0, 1_000_000.0), "hours of audio, comma between", above=0)
    epochs: float = option(30.0, "passes over the data", above=0)
    max_duration: float = option(200.0, "seconds of audio per batch of a process", above=0)
    accumulate: int = option(1, "batches of a process per update", at_least=1)
    num_workers: int = option(2, "loader processes per process", at_least=1)
    shar: bool = option(True, "audio is read from Shar archives, in the process that trains")
    device_factor: float = option(1.0, "the device is so many times as fast as the one that was measured", above=0)
    link: float = option(0.0, "bytes per second between processes; 0: as measured", at_least=0)
    reading: float = option(5e8, "bytes per second that a process reads of archives", above=0)
    save_every: int = option(500, "updates between checkpoints", at_least=1)
    days_between_failures: float = option(30.0, "of one machine", above=0)
    restart: float = option(300.0, "seconds from a failure to the next update", at_least=0)


@dataclass(frozen=True)
class Simulated:
    """Seconds of audio per second of `ranks` processes, and the share of the time that each part takes."""

    ranks: int
    speed: float
    shares: dict[str, float]

    @property
    def limit(self) -> str:
        """The part, besides computing, that takes most time."""
        others = {name: share for name, share in self.shares.items() if name != "computing"}
        return max(others, key=lambda name: others[name])


def simulate(rates: Rates, config: PlanConfig, ranks: int, seed: int = 0) -> Simulated:
    """Simulate updates of `ranks` processes.

    Parts: "computing"; "loading", waiting for a loader process; "sampling", in which every process passes the cuts, and
    reads the archives, of all; "slowest rank"; "all-reduce", what is not hidden behind the backward pass;
    "agreement", small results that the processes hand on in a ring; "checkpoints"; "failures", updates since the last
    checkpoint and restarts, with the mean number of failures.
    """
    rng = np.random.default_rng(seed)
    audio = config.max_duration
    names = ("computing", "loading", "sampling", "slowest rank", "all-reduce", "agreement", "checkpoints", "failures")
    seconds = dict.fromkeys(names, 0.0)
    sigma = math.sqrt(math.log1p(rates.spread**2))  # a lognormal distribution of mean 1
    sampling = ranks * audio / rates.cut_seconds / rates.cuts
    if config.shar:
        sampling += ranks * audio * rates.stored / config.reading
    interval = audio / (rates.load * config.num_workers)  # between batches of the loader processes
    queue = 2 * config.num_workers
    link = config.link or rates.all_reduce
    summing = 2 * (ranks - 1) / ranks * 4 * rates.parameters / link
    agreeing = (1 + config.accumulate) * (ranks - 1) * rates.agreement  # on the group, and on the loss of every batch
    loaded = np.zeros(ranks)  # when the loader processes end their last batch
    taken = [np.zeros(ranks)] * queue  # when the last batches were taken
    now = 0.0
    for _ in range(UPDATES):
        ready, computing, busy = np.full(ranks, now), np.zeros(ranks), np.zeros(ranks)
        for _ in range(config.accumulate):
            loaded = np.maximum(loaded, taken[0]) + interval
            wanted = ready + sampling
            start = np.maximum(wanted, loaded)
            taken = [*taken[1:], start]
            busy = audio / (rates.train * config.device_factor) * rng.lognormal(-(sigma**2) / 2, sigma, ranks)
            seconds["loading"] += float((start - wanted).mean())
            computing += busy
            ready = start + busy
        end = float(ready.max())
        exposed = max(0.0, summing - OVERLAP * float(busy.mean()))
        seconds["sampling"] += sampling * config.accumulate
        seconds["computing"] += float(computing.mean())
        seconds["slowest rank"] += end - float(ready.mean())
        seconds["all-reduce"] += exposed
        seconds["agreement"] += agreeing
        now = end + exposed + agreeing
    update = now / UPDATES
    saving = (rates.checkpoint + AVERAGE * rates.parameters) / rates.disk / config.save_every
    seconds["checkpoints"] = saving * UPDATES
    machines = math.ceil(ranks / config.per_machine)
    failures = machines / (config.days_between_failures * 86400)  # per second
    lost = failures * (config.save_every * (update + saving) / 2 + config.restart)
    seconds["failures"] = lost * (now + seconds["checkpoints"])
    total = sum(seconds.values())
    shares = {name: value / total for name, value in seconds.items()}
    return Simulated(ranks, UPDATES * config.accumulate * ranks * audio / total, shares)


def speed_table(results: Sequence[Simulated]) -> list[str]:
    """A line per number of processes."""
    parts = list(results[0].shares)
    lines = [f"{'processes':>9s} {'x real time':>12s} " + " ".join(f"{name:>12s}" for name in parts) + "  limit"]
    for result in results:
        shares = " ".join(f"{100 * result.shares[name]:10.1f} %" for name in parts)
        lines.append(f"{result.ranks:9d} {result.speed:12.0f} {shares}  {result.limit}")
    return lines


def data_table(rates: Rates, config: PlanConfig, results: Sequence[Simulated]) -> list[str]:
    """A line per amount of data: what it takes on disk, at the start of training, and in time."""
    times = " ".join(f"{f'{result.ranks} proc.':>10s}" for result in results)
    lines = [f"{'hours':>9s} {'cuts':>10s} {'audio':>9s} {'first pass':>10s} {times}"]
    for hours in config.hours:
        cuts = hours * 3600 / rates.cut_seconds
        trained = " ".join(f"{duration(config.epochs * hours * 3600 / result.speed):>10s}" for result in results)
        size = f"{hours * 3600 * rates.stored / 1e9:.0f} GB"
        lines.append(f"{hours:9.0f} {cuts:10.3g} {size:>9s} {duration(cuts / rates.metadata):>10s} {trained}")
    return lines


def duration(seconds: float) -> str:
    """Seconds in the largest unit that is not below 1: "3.2 d"."""
    for unit, size in (("y", 365 * 86400), ("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Simulate training on many processes with measured rates.", PlanConfig)
    with errors_in_one_line():
        lines = read_lines(config.rates)
        if not lines:
            raise ValueError(f"{config.rates}: no rates; bench.py rates writes them")
        for line in lines:
            rates = from_dict(Rates, line)
            results = [simulate(rates, config, ranks) for ranks in config.ranks]
            print(f"{rates.preset} on {rates.machine}, {rates.parameters / 1e6:.1f} M parameters")
            print("\n".join([*speed_table(results), "", *data_table(rates, config, results), ""]))
