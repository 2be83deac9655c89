"""A picture of error rates over one or two options."""

from __future__ import annotations

from pathlib import Path

from hainan_k2.files.atomic import atomic_file
from hainan_k2.tuning.coordinates import Surface


def draw_surface(surface: Surface, path: Path, title: str) -> None:
    """Draw the word error rates, in percent: a line over one option, a table in colours over two.

    The kind of picture is that of the ending of `path`: .svg, .png or .pdf.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "hainan_k2"  # the same rates make the same file
    figure, axes = pyplot.subplots(figsize=(6, 4.5))
    percent = [[100 * rate for rate in row] for row in surface.rates]
    if len(surface.names) == 1:
        (values,) = surface.values
        axes.plot(values, [row[0] for row in percent], marker="o")
        axes.axvline(surface.best[0], color="grey", linestyle=":")
        axes.set_ylabel("WER %")
    else:
        down, across = surface.values
        axes.imshow(percent, cmap="viridis_r", aspect="auto", origin="lower")
        axes.set_xticks(range(len(across)), [f"{value:g}" for value in across])
        axes.set_yticks(range(len(down)), [f"{value:g}" for value in down])
        low, high = min(map(min, percent)), max(map(max, percent))
        for i, row in enumerate(percent):
            for j, rate in enumerate(row):
                best = (down[i], across[j]) == surface.best
                dark = rate > (low + high) / 2
                colour, weight = "white" if dark else "black", "bold" if best else "normal"
                axes.text(j, i, f"{rate:.2f}", ha="center", va="center", color=colour, fontweight=weight)
        axes.set_ylabel(surface.names[0])
    axes.set_xlabel(surface.names[-1])
    axes.set_title(title, fontsize=10)
    figure.tight_layout()
    with atomic_file(path) as stream:
        figure.savefig(stream, format=path.suffix[1:], metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
