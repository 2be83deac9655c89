"""What `bench.py loss` reports: ratios to a reference, growth with the number of frames, lines and a plot."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

Row = dict[str, Any]  # method, batch, frames, labels, vocab; seconds, bytes, and their ratios
FIT_FROM = 100  # frames; in shorter utterances overhead dominates

HEADER = "method          B     T    U     V   seconds  ratio       MiB  ratio"


def reference_of(method: str, methods: Sequence[str]) -> Optional[str]:
    """The method that ratios of `method` refer to: log-softmax for losses of logits, else the full loss; None where it
    is not among `methods`."""
    if method.startswith("lo"):
        return "log-softmax" if "log-softmax" in methods else None
    return next((name for name in ("full-k2", "full-torch") if name in methods), None)


def add_ratios(rows: list[Row]) -> None:
    """Add to every row the ratios of its time and memory to those of its reference at the same sizes, None without."""

    def key(row: Row, method: str) -> tuple[Any, ...]:
        return method, row["batch"], row["frames"], row["labels"], row["vocab"]

    known = {key(row, row["method"]): row for row in rows}
    for row in rows:
        reference = known.get(key(row, reference_of(row["method"], [r["method"] for r in rows]) or ""))
        for name in ("seconds", "bytes"):
            row[name + "_ratio"] = row[name] / reference[name] if reference else None


def exponents(rows: list[Row]) -> dict[str, dict[str, float]]:
    """By method: exponents p of time ~ T^p and memory ~ T^p, least squares over the utterances of at least FIT_FROM
    frames."""
    fits: dict[str, dict[str, float]] = {}
    first = {k: rows[0][k] for k in ("batch", "labels", "vocab")} if rows else {}
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [r for r in rows if r["method"] == method and r["frames"] >= FIT_FROM]
        own = [r for r in own if all(r[k] == v for k, v in first.items())]
        if len(own) >= 2:
            fits[method] = {name: _slope([(r["frames"], r[name]) for r in own]) for name in ("seconds", "bytes")}
    return fits


def _slope(points: Sequence[tuple[float, float]]) -> float:
    xs, ys = zip(*((math.log(x), math.log(y)) for x, y in points))
    mx, my = statistics.fmean(xs), statistics.fmean(ys)
    return sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / sum((x - mx) ** 2 for x in xs)


def plot(rows: list[Row], fits: dict[str, dict[str, float]], title: str, path: Path) -> None:
    """Plot time and memory over frames T, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), constrained_layout=True)
    for axis, name, unit, label in zip(axes, ("seconds", "bytes"), (1.0, 2**20), ("seconds", "peak MiB")):
        for method in dict.fromkeys(row["method"] for row in rows):
            points = sorted((r["frames"], r[name] / unit) for r in rows if r["method"] == method)
            power = f" ~ T^{fits[method][name]:.2f}" if method in fits else ""
            axis.loglog(*zip(*points), marker="o", markersize=3, label=method + power)
        axis.set(xlabel="encoder frames T", ylabel=label)
        axis.grid(True, which="both", alpha=0.25)
        axis.legend(fontsize=7)
    figure.suptitle(title)
    figure.savefig(path, dpi=150)


def line(row: Row) -> str:
    """A row below HEADER."""
    ratios = [f"{row[k]:6.3f}" if row[k] is not None else "     -" for k in ("seconds_ratio", "bytes_ratio")]
    return (
        f"{row['method']:12s}{row['batch']:5d}{row['frames']:6d}{row['labels']:5d}{row['vocab']:6d}"
        f"{row['seconds']:10.4f} {ratios[0]}{row['bytes'] / 2**20:10.1f} {ratios[1]}"
    )
