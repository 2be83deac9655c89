"""Train and decode every configuration of a grid with every seed: `experiment.py GRID.yaml --out-dir exp --jobs 2`.

Each run is a training (train.py) in its own folder, then decode.py on every set and, if the grid asks for it,
distributions.py. Commands that are done are not run again, also after kill -9: the same command goes on, a training
from its last checkpoint. After every run results.md, results.tsv and the plots are written for the runs that are
complete. Paths in the grid are relative to the folder where the command runs. A grid of trained models decodes them
and trains nothing.

Exit codes: 0; 1 if a run failed, all others being done; 2 for an error in the grid or the options.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Optional, TextIO

from experiment_grid import ROOT, Grid, Run, methods_of, read_grid
from experiment_results import write_results

from hainan_k2.cli import Parser, errors_in_one_line, start_logging
from hainan_k2.config import ModelConfig
from hainan_k2.files.atomic import write_atomic
from hainan_k2.formats.checkpoint import LAST, load_checkpoint, model_of_state
from hainan_k2.formats.model_dir import find_model, read_model
from hainan_k2.search.methods import METHODS
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.suitability import why_unsuitable
from hainan_k2.training.trainlog import clock

logger = logging.getLogger("experiment")


@dataclasses.dataclass(frozen=True)
class Step:
    """A command of a run. `asked`, what the grid says about it, tells whether a result is that of this grid."""

    name: str  # train, decode-SET or distributions
    asked: dict[str, Any]
    command: Callable[[], list[str]]  # called when the steps before it are done

    @property
    def kind(self) -> str:
        return self.name.partition("-")[0]


class RunFolder:
    """The folder of a run: checkpoints and results of its commands, and STEP.json for every step that is done."""

    def __init__(self, out_dir: Path, run: Run, grid: Grid):
        self.path, self.run, self.grid = out_dir / run.name, run, grid
        self.steps = [] if run.trained else [Step("train", run.options, self._train)]
        for name, (of_set, options) in grid.calls.items():
            asked = {"cuts": grid.sets[of_set], **options}
            if run.trained:
                asked["model"] = run.trained
            self.steps.append(Step(f"decode-{name}", asked, partial(self._decode, name)))
        if grid.distributions:
            asked = {"cuts": grid.sets[grid.distributions]}
            self.steps.append(Step("distributions", asked, self._distributions))

    def done(self, step: Step) -> Optional[dict[str, Any]]:
        """The record of a step that is done: command, seconds, cpu_seconds. None where it is not, or was asked
        otherwise."""
        path = self.path / f"{step.name}.json"
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return record if record.get("asked") == step.asked else None

    def pending(self) -> list[Step]:
        return [step for step in self.steps if self.done(step) is None]

    def check(self) -> None:
        """Raises ValueError where the folder has a training with other options."""
        path = self.path / "options.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else self.run.options
        changed = sorted(k for k in {*before, *self.run.options} if before.get(k) != self.run.options.get(k))
        if changed:
            raise ValueError(
                f"{self.path} was trained with another {', '.join(changed)}: give another --out-dir, or remove it"
            )

    def finish(self) -> None:
        """Run the steps that are not done. Raises ValueError with the last line of a command that fails."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self._locked() as lock:
            self.check()
            write_atomic(self.path / "options.json", json.dumps(self.run.options, indent=1) + "\n")
            for step in self.pending():
                command = step.command()
                seconds, cpu_seconds = execute(command, self.path / "log.txt", lock)
                record = {
                    "asked": step.asked,
                    "command": shown_command(command),
                    "seconds": seconds,
                    "cpu_seconds": cpu_seconds,
                }
                write_atomic(self.path / f"{step.name}.json", json.dumps(record, indent=1) + "\n")
                logger.info("%s: %s took %s", self.run.name, step.name, clock(seconds))

    @contextmanager
    def _locked(self) -> Iterator[TextIO]:
        """Holds the lock of the folder. Its commands inherit it, so that one that outlives a killed driver keeps the
        folder until it ends."""
        with open(self.path / "lock", "w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.info("%s: waiting for another process that works on it", self.run.name)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock

    def _train(self) -> list[str]:
        return command("hainan_k2/train.py", {"exp_dir": self.path, **self.run.options})

    def _decode(self, name: str) -> list[str]:
        of_set, options = self.grid.calls[name]
        methods = suitable_methods(methods_of(options), self._model())
        taken = {name for method in methods for name in METHODS[method].options}
        unused = {f.name for f in dataclasses.fields(SearchConfig)} - taken
        chosen = {name: value for name, value in options.items() if name not in unused}
        chosen["method"] = methods
        files = {**self._of_model(), "cuts": self.grid.sets[of_set], "out_dir": self.path / "decode" / name}
        if files["out_dir"].exists():  # of another decoding, maybe of other cuts
            shutil.rmtree(files["out_dir"])
        return command("hainan_k2/decode.py", {**files, **chosen})

    def _distributions(self) -> list[str]:
        cuts = self.grid.sets[str(self.grid.distributions)]
        out = self.path / "distributions-of-model.json"
        return command("recipes/shared/distributions.py", {"exp_dir": self.path, "cuts": cuts, "out": out})

    def _of_model(self) -> dict[str, Any]:
        """The options of decode.py that name the model."""
        if not self.run.trained:
            return {"exp_dir": self.path, "lang_dir": self.run.options["lang_dir"]}
        options = self._folder / "options.json"  # of a run of another grid
        if not options.is_file():
            return {"model": self.run.trained}
        return {"exp_dir": self.run.trained, "lang_dir": json.loads(options.read_text(encoding="utf-8"))["lang_dir"]}

    @property
    def _folder(self) -> Path:
        """Where the model is."""
        return find_model(self.run.trained) if self.run.trained else self.path

    def _model(self) -> ModelConfig:
        if "exp_dir" not in self._of_model():
            return read_model(self._folder)[0].config
        path = self._folder / LAST
        return model_of_state(load_checkpoint(path), path)[0]


def suitable_methods(names: Sequence[str], config: ModelConfig) -> list[str]:
    """Of the methods of the grid, those that such a model has the parts for. Raises ValueError where none is left."""
    chosen = [name for name in names if not why_unsuitable(METHODS[name], config, METHODS)]
    if not chosen:
        raise ValueError(f"none of {', '.join(names)} decodes a model of objective {config.objective}")
    return chosen


def command(script: str, options: dict[str, Any]) -> list[str]:
    """The command line of a script of this repository."""
    words = [sys.executable, str(ROOT / script)]
    for name, value in options.items():
        text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        words += [f"--{name.replace('_', '-')}", text.lower() if value is None or isinstance(value, bool) else text]
    return words


def shown_command(words: list[str]) -> str:
    """A command as it is typed in the root of the repository."""
    return shlex.join(["python", str(Path(words[1]).relative_to(ROOT)), *words[2:]])


def execute(words: list[str], log: Path, lock: TextIO) -> tuple[float, float]:
    """Run a command, with its output appended to `log`. Returns its seconds, and its CPU seconds with its children's.
    Raises ValueError with its last line where it fails."""
    begin = time.monotonic()
    with open(log, "ab") as output:
        output.write(f"$ {shown_command(words)}\n".encode())
        output.flush()
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        process = subprocess.Popen(
            words, stdout=output, stderr=subprocess.STDOUT, pass_fds=[lock.fileno()], env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise ValueError(f"{Path(words[1]).name} ended with code {process.returncode}: {lines[-1]} (see {log})")
    return time.monotonic() - begin, usage.ru_utime + usage.ru_stime


def seconds_left(folders: list[RunFolder], jobs: int) -> float:
    """Seconds until all is done, from the mean time of the steps of each kind that are done; NaN if a kind has none."""
    taken: dict[str, list[float]] = {}
    waiting: list[str] = []
    for folder in folders:
        for step in folder.steps:
            record = folder.done(step)
            if record is None:
                waiting.append(step.kind)
            else:
                taken.setdefault(step.kind, []).append(record["seconds"])
    if any(kind not in taken for kind in waiting):
        return float("nan")
    return sum(sum(taken[kind]) / len(taken[kind]) for kind in waiting) / jobs


def run_grid(grid: Grid, folders: list[RunFolder], jobs: int, write: Callable[[], None]) -> int:
    """Run everything that is not done, `jobs` runs at a time, in the order of the grid. Returns how many runs failed.

    Args:
      write: writes the results of all runs that are complete; called after each.
    """
    failed = 0
    unfinished = [folder for folder in folders if folder.pending()]
    logger.info("%d of %d runs are to do, %d at a time", len(unfinished), len(folders), jobs)
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = {pool.submit(folder.finish): folder for folder in unfinished}
        for future in as_completed(futures):
            try:
                future.result()
            except (ValueError, OSError) as error:
                failed += 1
                logger.error("%s: %s", futures[future].run.name, error)
                continue
            left = clock(seconds_left(folders, jobs))
            ready = sum(not folder.pending() for folder in folders)
            logger.info("%s is done, %d of %d runs; %s left", futures[future].run.name, ready, len(folders), left)
            write()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    write()
    return failed


def main(argv: Optional[list[str]] = None) -> None:
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("grid", type=Path, help="YAML file of the experiment")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder for the runs, the tables and the plots")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time; default: all CPUs")
    parser.add_argument("--run", action="append", help="names of runs to do, e.g. hainan-seed1; default: all")
    options = parser.parse_args(argv)
    start_logging()
    with errors_in_one_line():
        if options.jobs < 1:
            raise ValueError(f"--jobs is {options.jobs}: at least 1")
        grid = read_grid(options.grid)
        for run in grid.absent:
            logger.warning("%s is left out: %s has no finished training", run.name, run.trained)
        names = [run.name for run in grid.runs]
        unknown = [name for name in options.run or [] if name not in names]
        if unknown:
            raise ValueError(f"--run {unknown[0]}: the runs are {', '.join(names)}")
        everything = [RunFolder(options.out_dir, run, grid) for run in grid.runs]
        folders = [folder for folder in everything if folder.run.name in (options.run or names)]
        for folder in folders:
            folder.check()

        def write() -> None:
            complete = [(folder.path, folder.run) for folder in everything if not folder.pending()]
            write_results(grid, complete, options.out_dir, f"{options.grid} --out-dir {options.out_dir}")

        failed = run_grid(grid, folders, options.jobs, write)
    print(f"{len(folders) - failed} of {len(folders)} runs are done: {options.out_dir}/results.md")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
