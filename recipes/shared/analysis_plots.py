"""The plots of analysis.py, in the size of a column of a paper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hainan_k2.files.atomic import atomic_file
from hainan_k2.scoring.calibration import Calibration
from hainan_k2.scoring.wer import Score

SIZE = (4.6, 3.2)  # inches


def _axes(width: float = SIZE[0]) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(width, SIZE[1]))
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    return figure, axes


def _legend_above(axes: Any) -> None:
    """A legend that covers no data."""
    axes.legend(fontsize=7, ncol=3, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    figure.tight_layout()
    with atomic_file(path) as stream:
        figure.savefig(stream, format="png", dpi=120)
    pyplot.close(figure)


def plot_errors(scores: Mapping[str, Score], path: Path) -> None:
    """A column per method: substitutions, deletions and insertions per 100 words, on top of each other."""
    figure, axes = _axes()
    bottom = np.zeros(len(scores))
    for kind in ("substitutions", "deletions", "insertions"):
        rates = np.array([100 * getattr(s, kind) / max(1, s.words.reference_length) for s in scores.values()])
        axes.bar(range(len(scores)), rates, 0.65, bottom=bottom, label=kind)
        bottom += rates
    axes.set_xticks(range(len(scores)), list(scores), rotation=25, ha="right", fontsize=8)
    axes.set(ylabel="errors per 100 words")
    _legend_above(axes)
    _save(figure, path)


def plot_rates(by_method: Mapping[str, Mapping[str, Score]], label: str, path: Path) -> None:
    """WER with 95 % intervals by group, a colour per method; without the groups that have no reference words."""
    names = [name for name, first in next(iter(by_method.values())).items() if first.words.reference_length]
    figure, axes = _axes(max(SIZE[0], 0.75 * len(names)))
    for i, (method, scores) in enumerate(by_method.items()):
        rates = np.array([100 * scores[name].wer for name in names])
        bounds = 100 * np.array([scores[name].wer_interval() for name in names]).T
        spread = np.maximum(np.abs(bounds - rates), 0.0)
        x = np.arange(len(names)) + 0.12 * (i - (len(by_method) - 1) / 2)
        axes.errorbar(x, rates, spread, fmt="o", markersize=3, capsize=2, linewidth=1, label=method)
    axes.set_xticks(range(len(names)), names, rotation=25, ha="right", fontsize=8)
    axes.set(xlabel=label, ylabel="WER %")
    _legend_above(axes)
    _save(figure, path)


def plot_delays(delays: Mapping[str, np.ndarray], path: Path) -> None:
    """The share of the words that are emitted within a delay, in milliseconds, by method."""
    figure, axes = _axes()
    for method, seconds in delays.items():
        axes.plot(1000 * np.sort(seconds), np.linspace(0, 100, len(seconds)), linewidth=1.2, label=method)
    axes.set(xlabel="emission delay, ms", ylabel="% of the correct words", xlim=(-500, 500))
    axes.legend(fontsize=8)
    _save(figure, path)


def plot_calibration(calibrations: Mapping[str, Calibration], path: Path) -> None:
    """Reliability: the share of correct words by their confidence; a calibrated method follows the diagonal."""
    figure, axes = _axes()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    for method, found in calibrations.items():
        label = f"{method} ({found.error or 0.0:.3f})"
        axes.plot([b.confidence for b in found.bins], [b.accuracy for b in found.bins], "o-", markersize=3, label=label)
    axes.set(xlabel="confidence of a word", ylabel="share of correct words", xlim=(0, 1), ylim=(0, 1))
    axes.legend(fontsize=7, title="expected calibration error", title_fontsize=7)
    _save(figure, path)
