"""Results of a grid: results.tsv with every run, results.md with means over seeds and comparisons, a plot per set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from decoded import read_decoded
from experiment_grid import Grid, Run

from hainan_k2.files.atomic import atomic_file, write_atomic
from hainan_k2.scoring.segments import compare_segments
from hainan_k2.scoring.significance import compare, interval
from hainan_k2.scoring.wer import Score

WIDEST = 16  # columns of a table, methods of a plot


@dataclass(frozen=True)
class Result:
    """What a run recognised on a set by a method; seconds are lists with one number per repeat."""

    run: Run
    set: str
    method: str  # with swept options: sar sar_rounds=2
    score: Score
    audio_seconds: float
    encoder_seconds: list[float]
    search_seconds: list[float]
    commands: tuple[str, str]  # of training, of decoding


@dataclass(frozen=True)
class Cell:
    """The results of all seeds of a configuration on a set by a method, in the order of the seeds."""

    results: list[Result]

    @cached_property
    def errors(self) -> np.ndarray:
        """(seeds, utterances) word errors."""
        return np.array([[u.words.total for u in r.score.utterances] for r in self.results])

    @property
    def lengths(self) -> list[int]:
        return [u.words.reference_length for u in self.results[0].score.utterances]

    @property
    def wer(self) -> float:
        return float(self.errors.sum()) / max(1, len(self.results) * sum(self.lengths))

    @cached_property
    def bounds(self) -> tuple[float, float]:
        return interval(self.errors, self.lengths)

    @property
    def search_seconds(self) -> float:
        return mean(mean(r.search_seconds) for r in self.results)

    @property
    def encoder_seconds(self) -> float:
        return mean(mean(r.encoder_seconds) for r in self.results)

    def of_seeds(self, seeds: set[int]) -> Cell:
        return Cell([r for r in self.results if r.run.seed in seeds])


Cells = dict[tuple[str, str, str], Cell]  # by set, configuration and method


def read_results(runs: Sequence[tuple[Path, Run]], calls: Mapping[str, str]) -> list[Result]:
    """The results of complete runs. Raises ValueError or OSError where one cannot be read.

    Args:
      calls: the set of every folder of results.
    """
    results: dict[tuple[str, str, str], Result] = {}
    for folder, run in runs:
        trained = (Path(run.trained) if run.trained else folder) / "train.json"
        training = json.loads(trained.read_text(encoding="utf-8"))["command"] if trained.is_file() else run.trained
        for call, name in calls.items():
            record = json.loads((folder / f"decode-{call}.json").read_text(encoding="utf-8"))
            for found in read_decoded(folder / "decode" / call):
                seconds = found.figures["encoder_seconds"], found.figures["search_seconds"]
                commands = training, record["command"]
                result = Result(run, name, found.method, found.score, found.audio_seconds, *seconds, commands)
                results.setdefault((run.name, name, found.method), result)  # two calls may ask for the same
    return list(results.values())


def write_results(grid: Grid, runs: Sequence[tuple[Path, Run]], out_dir: Path, where: str) -> None:
    """Write results.tsv, results.md and plot-SET.png into `out_dir`, of complete runs.

    Args:
      where: arguments of experiment.py that repeat the grid.
    """
    results = read_results(runs, {call: of_set for call, (of_set, _) in grid.calls.items()})
    cells: Cells = {}
    for result in results:
        key = result.set, result.run.configuration, result.method
        cells.setdefault(key, Cell([])).results.append(result)
    write_atomic(out_dir / "results.tsv", "".join(f"{line}\n" for line in tsv(results)))
    lines = [f"# {grid.title}", "", *_introduction(grid, len(runs), where)]
    for name in grid.sets:
        lines += rate_table(grid, cells, name) + time_table(grid, cells, name)
        plot(grid, cells, name, out_dir / f"plot-{name}.png")
    lines += comparison_table(grid, cells)
    if grid.distributions:
        lines += distribution_table(grid, runs)
    write_atomic(out_dir / "results.md", "\n".join(lines) + "\n")


def _introduction(grid: Grid, complete: int, where: str) -> list[str]:
    return [
        f"{complete} of {len(grid.runs)} runs are complete. Every row is repeated by",
        f"`python recipes/shared/experiment.py {where} --run CONFIGURATION-seedN`;",
        "results.tsv has the single commands.",
        "",
    ]


def tsv(results: Iterable[Result]) -> list[str]:
    """A line for every run, set and method, with the commands that repeat it."""
    columns = "configuration seed set method wer low high substitutions deletions insertions words cer".split()
    lines = ["\t".join([*columns, "audio_seconds", "encoder_seconds", "search_seconds", "train", "decode"])]
    for r in results:
        low, high = r.score.wer_interval()
        counts = r.score.substitutions, r.score.deletions, r.score.insertions, r.score.words.reference_length
        rates = [f"{100 * x:.2f}" for x in (r.score.wer, low, high)]
        seconds = [f"{x:.3f}" for x in (r.audio_seconds, mean(r.encoder_seconds), mean(r.search_seconds))]
        names = r.run.configuration, str(r.run.seed), r.set, r.method
        lines.append("\t".join([*names, *rates, *map(str, counts), f"{100 * r.score.cer:.2f}", *seconds, *r.commands]))
    return lines


def _methods(grid: Grid, cells: Cells, name: str) -> list[str]:
    """The methods of a set, in the order of the grid."""
    found = dict.fromkeys(method for of_set, _, method in cells if of_set == name)
    return sorted(found, key=lambda method: grid.methods.index(method.split(" ")[0]))


def _configurations(grid: Grid, cells: Cells, name: str) -> list[str]:
    """The configurations that have results on a set, in the order of the grid."""
    return [c for c in grid.configurations if any(key[:2] == (name, c) for key in cells)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table; one that would be wider than WIDEST is turned, so that its first column is its head."""
    rows = list(rows)
    if len(head) > WIDEST:
        head, *rows = zip(head, *rows)
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def rate_table(grid: Grid, cells: Cells, name: str) -> list[str]:
    """WER of every configuration by every method."""
    methods = _methods(grid, cells, name)
    rows = []
    for configuration in _configurations(grid, cells, name):
        own = [cells.get((name, configuration, method)) for method in methods]
        seeds = max((len(cell.results) for cell in own if cell), default=0)
        texts = [f"{100 * c.wer:.2f} ({100 * c.bounds[0]:.2f} - {100 * c.bounds[1]:.2f})" if c else "" for c in own]
        rows.append([configuration, str(seeds), *texts])
    title = f"## {name}: WER %, mean over seeds (95 % interval over utterances and seeds)"
    return [title, "", *_table(["configuration", "seeds", *methods], rows), ""]


def time_table(grid: Grid, cells: Cells, name: str) -> list[str]:
    """Seconds of the encoder and of every search."""
    methods = _methods(grid, cells, name)
    rows = []
    for configuration in _configurations(grid, cells, name):
        own = [cells.get((name, configuration, method)) for method in methods]
        encoder = [f"{cell.encoder_seconds:.2f}" for cell in own if cell][:1] or [""]
        rows.append([configuration, *encoder, *(f"{cell.search_seconds:.3f}" if cell else "" for cell in own)])
    audio = max((c.results[0].audio_seconds for key, c in cells.items() if key[0] == name), default=0.0)
    title = f"{name}, {audio / 60:.1f} minutes of audio: seconds of the encoder and of each search, mean over seeds"
    return [title, "", *_table(["configuration", "encoder", *methods], rows), ""]


def comparison_table(grid: Grid, cells: Cells) -> list[str]:
    """The differences that the grid asks for, on every set, over the seeds that both sides have.

    The last column has the largest p of the segment tests of single seeds: segments of the same utterance in several
    trainings are not independent.
    """
    rows = []
    for comparison in grid.comparisons:
        for name in grid.sets:
            sides = [cells.get((name, *side)) for side in (comparison.first, comparison.second)]
            if None in sides:
                continue
            first, second = (side for side in sides if side)
            seeds = {r.run.seed for r in first.results} & {r.run.seed for r in second.results}
            first, second = first.of_seeds(seeds), second.of_seeds(seeds)
            if seeds:
                found = compare(second.errors, first.errors, first.lengths)
                bounds = f"{100 * found.low:+.2f} to {100 * found.high:+.2f}"
                what = f"{' '.join(comparison.first)} less {' '.join(comparison.second)}"
                figures = f"{100 * found.difference:+.2f}", bounds, f"{found.p_value:.3f}", str(len(seeds))
                scores = zip((r.score for r in second.results), (r.score for r in first.results))
                largest = max(compare_segments(*pair).p_value for pair in scores)
                rows.append([comparison.claim, what, name, *figures, f"{largest:.3f}"])
    if not rows:
        return []
    head = ["claim", "WER points", "set", "difference", "95 % interval", "p", "seeds", "p of segments"]
    return ["## Comparisons: paired bootstrap over utterances and seeds", "", *_table(head, rows), ""]


def distribution_table(grid: Grid, runs: Sequence[tuple[Path, Run]]) -> list[str]:
    """The figures of distributions.py, mean over seeds."""
    figures: dict[str, list[dict[str, Any]]] = {}
    for folder, run in runs:
        found = json.loads((folder / "distributions-of-model.json").read_text(encoding="utf-8"))
        figures.setdefault(run.configuration, []).append(found)
    names = list(dict.fromkeys(name for of_one in figures.values() for found in of_one for name in found))
    rows = []
    for configuration, of_one in figures.items():
        columns = [[found[name] for found in of_one if name in found] for name in names]
        rows.append([configuration, *(f"{mean(column):.3f}" if column else "" for column in columns)])
    title = f"## Distributions on {grid.distributions}: mean over seeds; distributions.py defines the columns"
    return [title, "", *_table(["configuration", *names], rows), ""]


def plot(grid: Grid, cells: Cells, name: str, path: Path) -> None:
    """WER with intervals: a line per method over the values of a single axis of numbers, else a column of points per
    configuration. No plot of more methods than a reader can tell apart."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    configurations = _configurations(grid, cells, name)
    if not configurations or len(_methods(grid, cells, name)) > WIDEST:
        return
    axis = next(iter(grid.vary)) if len(grid.vary) == 1 and isinstance(next(iter(grid.vary.values())), list) else ""
    places = [float(c.partition("=")[2]) if axis else float(i) for i, c in enumerate(configurations)]
    methods = _methods(grid, cells, name)
    figure, axes = pyplot.subplots(figsize=(7.5, 4.2))
    width = 0.0 if axis else 0.08
    for i, method in enumerate(methods):
        found = [(p, cells[name, c, method]) for p, c in zip(places, configurations) if (name, c, method) in cells]
        x = [p + width * (i - (len(methods) - 1) / 2) for p, _ in found]
        rates = np.array([100 * cell.wer for _, cell in found])
        spread = np.abs(np.array([[100 * b for b in cell.bounds] for _, cell in found]).T - rates)
        axes.errorbar(x, rates, spread, fmt="o-" if axis else "o", markersize=4, capsize=2, linewidth=1, label=method)
    if not axis:
        axes.set_xticks(places, configurations)
    axes.set(xlabel=axis, ylabel="WER %", title=name)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncol=2)
    figure.tight_layout()
    with atomic_file(path) as stream:
        figure.savefig(stream, format="png", dpi=90)
    pyplot.close(figure)
