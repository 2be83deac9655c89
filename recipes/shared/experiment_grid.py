"""Grid and Run: the trainings of an experiment, from a YAML file; recipes/amazon_queen/conf/grid_kinds.yaml is one."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from hainan_k2.cli import read_yaml
from hainan_k2.config import ModelConfig, checked, shown
from hainan_k2.data.config import DataConfig
from hainan_k2.decode import DecodeConfig
from hainan_k2.files.plain_yaml import load_yaml
from hainan_k2.inference.window_sizes import WindowConfig
from hainan_k2.search.methods import METHODS
from hainan_k2.search.resources import ResourceConfig
from hainan_k2.search.sweep import SearchGrid
from hainan_k2.train import TrainConfig
from hainan_k2.training.objective import LossConfig
from hainan_k2.training.optim import OptimConfig
from hainan_k2.training.trainer import LoopConfig

OF_TRAIN = (TrainConfig, DataConfig, LoopConfig, LossConfig, OptimConfig, ModelConfig)
OF_DECODE = (DecodeConfig, SearchGrid, ResourceConfig, WindowConfig)
OWN = {"exp_dir", "out_dir", "cuts"}  # options that the driver sets


@dataclass(frozen=True)
class Run:
    """A training and what is decoded with it. `configuration` has the value of every axis, `options` are train.py's."""

    configuration: str
    seed: int
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.configuration}-seed{self.seed}"


@dataclass(frozen=True)
class Comparison:
    """Two results whose error rates are compared: the first less the second, each a configuration and a method."""

    claim: str
    first: tuple[str, str]
    second: tuple[str, str]


@dataclass(frozen=True)
class Grid:
    """An experiment.

    Args:
      title: first line of the page of results.
      train: options of train.py for all runs; `config`, as in train.py, is a YAML file with more of them.
      vary: axes; each has named sets of options, or values of the option that it is named after. Configurations are all
        combinations.
      seeds: every configuration is trained once with each.
      decode: options of decode.py for all runs and sets. Of `method`, a run takes those that its model has.
      sets: cuts to decode, by the name of the set.
      distributions: the set on which the distributions of the models are described (distributions.py), if any.
      compare: claims, each with two results, e.g. "AR as TDT": [hainan ar-greedy, tdt ar-greedy].
    """

    title: str
    train: dict[str, Any]
    vary: dict[str, Any]
    seeds: list[int]
    decode: dict[str, Any]
    sets: dict[str, str]
    distributions: Optional[str] = None
    compare: dict[str, list[str]] = field(default_factory=dict)

    @property
    def configurations(self) -> dict[str, dict[str, Any]]:
        """By name, the options of train.py that are not those of all runs."""
        axes = []
        for axis, values in self.vary.items():
            if isinstance(values, dict):
                axes.append([(str(name), options or {}) for name, options in values.items()])
            else:
                axes.append([(f"{axis}={value}", {axis: value}) for value in values])
        return {
            "-".join(name for name, _ in chosen): {k: v for _, options in chosen for k, v in options.items()}
            for chosen in itertools.product(*axes)
        }

    @property
    def methods(self) -> list[str]:
        """The methods of `decode`, in its order."""
        asked = self.decode["method"]
        return asked.split(",") if isinstance(asked, str) else list(asked)

    @property
    def runs(self) -> list[Run]:
        """Seed by seed, so that a grid that is stopped has as many seeds of one configuration as of another."""
        return [
            Run(name, seed, {**self.train, **options, "seed": seed})
            for seed in self.seeds
            for name, options in self.configurations.items()
        ]

    @property
    def comparisons(self) -> list[Comparison]:
        def of(side: str) -> tuple[str, str]:
            configuration, method = side.split(" ", 1)
            return configuration, method

        return [Comparison(claim, of(first), of(second)) for claim, (first, second) in self.compare.items()]


def read_grid(path: Path) -> Grid:
    """Read and check a grid. Raises ValueError, in one line, for keys, options and values that do not exist."""
    values = load_yaml(path.read_bytes(), str(path))
    hints = {f.name: f for f in dataclasses.fields(Grid)}
    unknown = [name for name in values if name not in hints]
    missing = [n for n, f in hints.items() if n not in values and f.default is f.default_factory is dataclasses.MISSING]
    if unknown or missing:
        raise ValueError(f"{path}: no key {shown((missing or unknown)[0])}; the keys are {', '.join(hints)}")
    for name, kind in (("train", dict), ("vary", dict), ("seeds", list), ("decode", dict), ("sets", dict)):
        if not isinstance(values[name], kind) or not values[name]:
            raise ValueError(f"{path}: {name} is {shown(values[name])}, not a {kind.__name__} with entries")
    config = values["train"].pop("config", None)
    values["train"] = {**(read_yaml(config) if config else {}), **values["train"]}
    grid = Grid(**values)
    try:
        check(grid)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from None
    return grid


def check(grid: Grid) -> None:
    """Raises ValueError for options that train.py or decode.py would refuse, and for names that are not in the grid."""
    if len(grid.runs) != len({run.name for run in grid.runs}):
        raise ValueError("two runs have the same name: seeds and values of an axis differ")
    for run in grid.runs:
        if not all(c.isalnum() or c in "-_=.," for c in run.configuration):
            raise ValueError(f"{shown(run.configuration)} names a folder: letters, digits and - _ = . , only")
        check_options(run.options, OF_TRAIN, OWN)
        if "lang_dir" not in run.options:
            raise ValueError("train has no lang_dir")
    if "method" not in grid.decode:
        raise ValueError("decode has no method")
    check_options(grid.decode, OF_DECODE, {*OWN, "lang_dir"})
    unknown = [name for name in grid.methods if name not in METHODS]
    if unknown:
        raise ValueError(f"no method {shown(unknown[0])}; there are {', '.join(METHODS)}")
    wrong = [name for name in grid.sets if not isinstance(name, str) or "/" in name]
    wrong += [] if grid.distributions in (None, *grid.sets) else [str(grid.distributions)]
    if wrong:
        raise ValueError(f"{shown(wrong[0])} is not the name of a set")
    for claim, sides in grid.compare.items():
        known = isinstance(sides, list) and len(sides) == 2 and all(isinstance(s, str) and " " in s for s in sides)
        if not known or any(side.split(" ")[0] not in grid.configurations for side in sides):
            raise ValueError(f"compare {shown(claim)}: two results are needed, each a configuration and a method")


def check_options(options: dict[str, Any], classes: tuple[type, ...], own: set[str]) -> None:
    """Raises ValueError for unknown options, bad values, and those that the driver sets."""
    names = [{f.name for f in dataclasses.fields(cls)} for cls in classes]
    unknown = [name for name in options if name in own or not any(name in of_class for of_class in names)]
    if unknown:
        raise ValueError(f"no option {unknown[0]}" if unknown[0] not in own else f"the driver sets {unknown[0]}")
    for cls, of_class in zip(classes, names):
        checked(cls, {name: value for name, value in options.items() if name in of_class})
