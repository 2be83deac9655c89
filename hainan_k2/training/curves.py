"""Plot training curves: `python -m hainan_k2.training.curves EXP_DIR... OUT.png`.

Several experiments are drawn one after the other, as steps of one training.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from hainan_k2.cli import errors_in_one_line, fail
from hainan_k2.files.atomic import atomic_file
from hainan_k2.files.jsonl import read_lines


def smoothed(values: list[float], weight: float = 0.95) -> list[float]:
    """Exponential moving average of the same length, unbiased at its start as in Adam."""
    out, total, norm = [], 0.0, 0.0
    for value in values:
        total, norm = weight * total + (1 - weight) * value, weight * norm + (1 - weight)
        out.append(total / norm)
    return out


def history(exp_dirs: Sequence[pathlib.Path]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[int]]:
    """The logs of several experiments as one.

    Returns:
      The lines of their updates.jsonl, those of their epochs.jsonl, and the last update of each experiment; updates
      are numbered through all of them. Lines with a null, a figure that was not finite, are left out.

    Raises:
      ValueError: where an experiment has no updates.jsonl.
    """
    updates: list[dict[str, Any]] = []
    epochs: list[dict[str, Any]] = []
    ends = [0]
    for exp_dir in exp_dirs:
        step = read_lines(exp_dir / "updates.jsonl")
        if not step:
            raise ValueError(f"{exp_dir} holds no updates.jsonl of a training run")
        for collected, lines in ((updates, step), (epochs, read_lines(exp_dir / "epochs.jsonl"))):
            collected += [{**line, "update": line["update"] + ends[-1]} for line in lines if None not in line.values()]
        ends.append(updates[-1]["update"])
    return updates, epochs, ends[1:]


def draw_curves(exp_dirs: Sequence[pathlib.Path], out: pathlib.Path) -> None:
    """Plot losses per label (train, dev) and dev WER (AR, NAR or CTC) over updates. Raises ValueError as `history`
    does."""
    updates, epochs, ends = history(exp_dirs)
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4))
    objective = next(name for name in ("tdt", "rnnt", "ctc") if any(name in line for line in updates))
    for name in dict.fromkeys((objective, "ctc", "simple")):
        lines = [line for line in updates if name in line]  # not every loss is in every update, nor in every training
        if lines:
            smooth = smoothed([line[name] for line in lines])
            left.plot([line["update"] for line in lines], smooth, label=f"train {name}")
    if epochs:
        at = [epoch["update"] for epoch in epochs]
        left.plot(at, [epoch["dev_loss"] for epoch in epochs], "k.-", label=f"dev {objective}")
        highest = 1.0
        main = "CTC greedy" if objective == "ctc" else "AR greedy"
        for name, style, label in (("dev_wer", "k.-", main), ("dev_wer_nar", ".--", "NAR greedy")):
            rates = [100 * epoch[name] for epoch in epochs if name in epoch]
            if not rates:
                continue
            right.plot(
                [epoch["update"] for epoch in epochs if name in epoch],
                rates,
                style,
                label=f"{label}, lowest {min(rates):.2f}",
            )
            highest = max(highest, *rates)
        right.set(xlim=(0, 1.05 * updates[-1]["update"]), ylim=(0, 1.1 * highest))
        right.legend()
    left.set(xlabel="update", ylabel="nats per label", yscale="log")  # the first losses are far above the rest
    left.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    left.yaxis.set_minor_locator(ticker.NullLocator())
    right.set(xlabel="update", ylabel="dev WER %")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        for end in ends[:-1]:
            axes.axvline(end, color="0.6", linestyle=":")
    left.legend()
    figure.tight_layout()
    with atomic_file(out) as stream:
        figure.savefig(stream, format=out.suffix[1:] or "png", dpi=100)
    pyplot.close(figure)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        fail("usage: python -m hainan_k2.training.curves EXP_DIR... OUT.png")
    with errors_in_one_line():
        draw_curves([pathlib.Path(path) for path in sys.argv[1:-1]], pathlib.Path(sys.argv[-1]))
