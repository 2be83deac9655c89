"""What `bench.py decode` reports: timings with confidence intervals, a table, and a plot of WER over throughput."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Optional


@dataclass(frozen=True)
class Timing:
    """Time and memory of a method at a batch size.

    Seconds are those of one batch, means over the repeats; an interval is half the 95 % confidence interval of the
    mean, 0 for a single repeat. `peak_mb` is the peak memory of the search in MB above what was in use before, None
    where the system does not report it.
    """

    method: str
    batch_size: int
    audio_seconds: float
    encoder_seconds: float
    encoder_interval: float
    search_seconds: float
    search_interval: float
    tokens_per_second: float
    peak_mb: Optional[float]

    @property
    def share(self) -> float:
        """Search time over encoder time."""
        return self.search_seconds / self.encoder_seconds

    @property
    def latency(self) -> float:
        """Seconds from features to hypotheses of a batch."""
        return self.encoder_seconds + self.search_seconds

    @property
    def throughput(self) -> float:
        """Seconds of audio decoded per second."""
        return self.audio_seconds / self.latency


def read_wer(path: str) -> dict[str, float]:
    """WER, a fraction, by method, from a summary-*.json of decode.py. Raises ValueError where it is none."""
    try:
        methods = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["methods"]
        return {method: float(figures["wer"]) for method, figures in methods.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(f"{path} is not a summary-*.json of decode.py") from None


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half its 95 % confidence interval (Student's t)."""
    from scipy.stats import t

    if len(values) == 1:
        return values[0], 0.0
    return mean(values), t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5


def table(timings: Sequence[Timing]) -> str:
    """A table with a line for each method and batch size."""
    lines = [
        f"{'method':12s} {'batch':>5s} {'encoder ms':>16s} {'search ms':>16s} {'% of encoder':>12s} "
        f"{'latency ms':>10s} {'x real time':>11s} {'tokens/s':>8s} {'peak MB':>8s}"
    ]
    for x in timings:
        encoder, search = (
            f"{1000 * value:.1f} +-{1000 * spread:.1f}"
            for value, spread in (
                (x.encoder_seconds, x.encoder_interval),
                (x.search_seconds, x.search_interval),
            )
        )
        memory = "-" if x.peak_mb is None else f"{x.peak_mb:.1f}"
        lines.append(
            f"{x.method:12s} {x.batch_size:5d} {encoder:>16s} {search:>16s} {100 * x.share:12.2f} "
            f"{1000 * x.latency:10.1f} {x.throughput:11.1f} {x.tokens_per_second:8.2f} {memory:>8s}"
        )
    return "\n".join(lines)


def plot(timings: Sequence[Timing], wer: dict[str, float], path: pathlib.Path) -> None:
    """Plot WER over throughput at the largest batch size, a point for each method. Raises ValueError where no method
    has both."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    largest = max(timing.batch_size for timing in timings)
    points = [x for x in timings if x.batch_size == largest and x.method in wer]
    if not points:
        measured = ", ".join(sorted({x.method for x in timings}))
        raise ValueError(f"--wer has the methods {', '.join(wer)}, of which none was measured: {measured}")
    figure, axes = pyplot.subplots(figsize=(6, 4))
    for x in points:
        axes.plot(x.throughput, 100 * wer[x.method], "o")
        axes.annotate(x.method, (x.throughput, 100 * wer[x.method]), (5, 5), textcoords="offset points")
    axes.set_xlabel(f"seconds of audio per second, batch of {largest}")
    axes.set_ylabel("WER %")
    axes.margins(0.2)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
