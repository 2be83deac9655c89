"""Grid and Run: the trainings of an experiment, from a YAML file; recipes/amazon_queen/conf/grid_kinds.yaml is one."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

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
SEED = "{seed}"  # stands for the seed in the path of a trained model


@dataclass(frozen=True)
class Run:
    """A training and what is decoded with it. `configuration` has the value of every axis, `options` are train.py's.

    `trained` is the experiment folder or model directory of a model that is there already, "" where there is none.
    """

    configuration: str
    seed: int
    options: dict[str, Any]
    trained: str = ""

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
      seeds: every configuration is trained once with each.
      decode: options of decode.py for all runs and sets, or a list of such options, each for one call of decode.py. Of
        `method`, a run takes those that its model has.
      sets: cuts to decode, by the name of the set.
      train: options of train.py for all runs; `config`, as in train.py, is a YAML file with more of them.
      vary: axes; each has named sets of options, or values of the option that it is named after. Configurations are all
        combinations.
      trained: in place of train and vary, models that are there: by configuration, an experiment folder or a model
        directory, in which {seed} stands for the seed. Seeds whose folder has no finished training are left out.
      distributions: the set on which the distributions of the models are described (distributions.py), if any.
      compare: claims, each with two results, e.g. "AR as TDT": [hainan ar-greedy, tdt ar-greedy].
    """

    title: str
    seeds: list[int]
    decode: Union[dict[str, Any], list[dict[str, Any]]]
    sets: dict[str, str]
    train: dict[str, Any] = field(default_factory=dict)
    vary: dict[str, Any] = field(default_factory=dict)
    trained: dict[str, str] = field(default_factory=dict)
    distributions: Optional[str] = None
    compare: dict[str, list[str]] = field(default_factory=dict)

    @property
    def configurations(self) -> dict[str, dict[str, Any]]:
        """By name, the options of train.py that are not those of all runs."""
        if self.trained:
            return {name: {} for name in self.trained}
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
        return list(dict.fromkeys(name for options in self.searches for name in methods_of(options)))

    @property
    def searches(self) -> list[dict[str, Any]]:
        """The options of every call of decode.py."""
        return self.decode if isinstance(self.decode, list) else [self.decode]

    @property
    def calls(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """By folder of its results, the set and the options of every call of decode.py."""
        return {
            f"{name}.{i}" if i else name: (name, options)
            for name in self.sets
            for i, options in enumerate(self.searches)
        }

    @property
    def runs(self) -> list[Run]:
        """Seed by seed, so that a grid that is stopped has as many seeds of one configuration as of another."""
        if self.trained:
            return [run for run in self._named if is_trained(run.trained)]
        return [
            Run(name, seed, {**self.train, **options, "seed": seed})
            for seed in self.seeds
            for name, options in self.configurations.items()
        ]

    @property
    def absent(self) -> list[Run]:
        """Of trained models, those that are not there."""
        return [run for run in self._named if not is_trained(run.trained)]

    @property
    def _named(self) -> list[Run]:
        """The runs of trained models, whether they are there or not."""
        return [
            Run(name, seed, {}, path.replace(SEED, str(seed)))
            for seed in self.seeds
            for name, path in self.trained.items()
            if SEED in path or seed == self.seeds[0]
        ]

    @property
    def comparisons(self) -> list[Comparison]:
        def of(side: str) -> tuple[str, str]:
            configuration, method = side.split(" ", 1)
            return configuration, method

        return [Comparison(claim, of(first), of(second)) for claim, (first, second) in self.compare.items()]


def methods_of(options: dict[str, Any]) -> list[str]:
    """The methods of a call of decode.py, in order."""
    asked = options["method"]
    return asked.split(",") if isinstance(asked, str) else list(asked)


def is_trained(path: str) -> bool:
    """Whether a path names a model directory, or the folder of a run whose training is done."""
    return path == "released" or any((Path(path) / name).is_file() for name in ("config.json", "train.json"))


def read_grid(path: Path) -> Grid:
    """Read and check a grid. Raises ValueError, in one line, for keys, options and values that do not exist."""
    values = load_yaml(path.read_bytes(), str(path))
    hints = {f.name: f for f in dataclasses.fields(Grid)}
    unknown = [name for name in values if name not in hints]
    missing = [n for n, f in hints.items() if n not in values and f.default is f.default_factory is dataclasses.MISSING]
    if unknown or missing:
        raise ValueError(f"{path}: no key {shown((missing or unknown)[0])}; the keys are {', '.join(hints)}")
    source = ("trained",) if "trained" in values else ("train", "vary")
    if "trained" in values and ("train" in values or "vary" in values):
        raise ValueError(f"{path}: trained models are not trained: leave out train and vary")
    if isinstance(values["decode"], list) and not all(isinstance(options, dict) for options in values["decode"]):
        raise ValueError(f"{path}: decode is {shown(values['decode'])}: a list of options of decode.py")
    kinds: dict[str, Any] = {"seeds": list, "decode": (dict, list)}
    for name in (*source, "seeds", "decode", "sets"):
        if not isinstance(values.get(name), kinds.get(name, dict)) or not values[name]:
            kind = "list" if name == "seeds" else "dict"
            raise ValueError(f"{path}: {name} is {shown(values.get(name))}, not a {kind} with entries")
    if "train" in values:
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
    if not all(isinstance(path, str) for path in grid.trained.values()):
        raise ValueError(f"trained is {shown(grid.trained)}: a path for each name")
    if len(grid.runs) != len({run.name for run in grid.runs}):
        raise ValueError("two runs have the same name: seeds and values of an axis differ")
    for run in grid.runs:
        if not all(c.isalnum() or c in "-_=.," for c in run.configuration):
            raise ValueError(f"{shown(run.configuration)} names a folder: letters, digits and - _ = . , only")
        check_options(run.options, OF_TRAIN, OWN)
        if not grid.trained and "lang_dir" not in run.options:
            raise ValueError("train has no lang_dir")
    if not grid.runs:
        raise ValueError(f"no model of trained is there, e.g. {next(iter(grid.trained.values()))}")
    if grid.trained and grid.distributions:
        raise ValueError("distributions describe the models that a grid trains: leave them out beside trained")
    for options in grid.searches:
        if "method" not in options:
            raise ValueError("decode has no method")
        check_options(options, OF_DECODE, {*OWN, "lang_dir", "model"})
    unknown = [name for name in grid.methods if name not in METHODS]
    if unknown:
        raise ValueError(f"no method {shown(unknown[0])}; there are {', '.join(METHODS)}")
    wrong = [name for name in grid.sets if not isinstance(name, str) or "/" in name or "." in name]
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
