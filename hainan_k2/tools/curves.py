"""Training curves of an experiment as a picture: `python -m hainan_k2.tools.curves EXP_DIR OUT.png`."""

from __future__ import annotations

import pathlib
import sys

from hainan_k2.config import fail
from hainan_k2.tools.jsonl import read_lines


def smoothed(values: list[float], weight: float = 0.95) -> list[float]:
    """Exponential moving average, corrected for its start."""
    out, total, norm = [], 0.0, 0.0
    for value in values:
        total, norm = weight * total + (1 - weight) * value, weight * norm + (1 - weight)
        out.append(total / norm)
    return out


def draw_curves(exp_dir: pathlib.Path, out: pathlib.Path) -> None:
    """Loss per label over updates (train, dev) and dev WER over epochs. ValueError where nothing was logged."""
    updates, epochs = read_lines(exp_dir / "updates.jsonl"), read_lines(exp_dir / "epochs.jsonl")
    if not updates:
        raise ValueError(f"{exp_dir} holds no updates.jsonl of a training run")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4))
    for name in ("tdt", "ctc", "simple"):
        lines = [line for line in updates if name in line]  # omega leaves some updates without a simple loss
        if lines:
            smooth = smoothed([line[name] for line in lines])
            left.plot([line["update"] for line in lines], smooth, label=f"train {name}")
    if epochs:
        left.plot([e["update"] for e in epochs], [e["dev_loss"] for e in epochs], "k.-", label="dev tdt")
        points = [(e["epoch"], 100 * e["dev_wer"]) for e in epochs]
        right.plot(*zip(*points), "k.-")
        right.set(xlim=(0, points[-1][0] + 1), ylim=(0, 1.1 * max(1.0, *(wer for _, wer in points))))
        best = min(points, key=lambda point: point[1])
        right.annotate(f"{best[1]:.2f}", best, (0, 6), textcoords="offset points", ha="center")
    left.set(xlabel="update", ylabel="nats per label", yscale="log")  # the first updates are far above the rest
    left.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    left.yaxis.set_minor_locator(ticker.NullLocator())
    right.set(xlabel="epoch", ylabel="dev WER %, AR greedy")
    right.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend()
    figure.tight_layout()
    figure.savefig(out, dpi=100)
    pyplot.close(figure)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        fail("usage: python -m hainan_k2.tools.curves EXP_DIR OUT.png")
    try:
        draw_curves(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    except ValueError as error:
        fail(str(error))
