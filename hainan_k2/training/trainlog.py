"""The record of a training run: one JSON line per update, TensorBoard, and a progress bar or log lines."""

from __future__ import annotations

import logging
import pathlib
import sys
import time
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from hainan_k2.files.jsonl import append_line, read_lines, write_lines


class TrainLog:
    """Writes `updates.jsonl`, `epochs.jsonl` and `tensorboard/` in an experiment's directory.

    A resumed run continues the files at its checkpoint: what an earlier run wrote after that is removed, since the same
    updates are about to be made again. So each update stands there once, however often training was killed.
    """

    def __init__(self, exp_dir: pathlib.Path, updates: int, epoch: int, log_every: int):
        self.log_every = log_every
        keep_through(exp_dir / "updates.jsonl", "update", updates)
        keep_through(exp_dir / "epochs.jsonl", "epoch", epoch - 1)
        self.updates = open(exp_dir / "updates.jsonl", "a", encoding="utf-8")
        self.epochs = open(exp_dir / "epochs.jsonl", "a", encoding="utf-8")
        self.board = SummaryWriter(str(exp_dir / "tensorboard"), purge_step=updates + 1)
        self.bar = tqdm(
            total=1.0,
            file=sys.stderr,
            disable=not sys.stderr.isatty(),
            leave=True,
            bar_format="{desc} {percentage:3.0f}% |{bar}| {postfix}",
        )
        self.started, self.heard_before, self.heard = time.monotonic(), 0.0, 0.0

    def begin(self, heard: float) -> None:
        """Start the clock; `heard` (seconds of audio) is what earlier runs did."""
        self.started, self.heard_before, self.heard = time.monotonic(), heard, heard

    def update(self, values: dict[str, Any], progress: float, seconds: float) -> None:
        """One update: its values, the fraction of training done, and the seconds of audio it heard."""
        self.heard += seconds
        append_line(self.updates, values)
        for name in ("loss", "tdt", "simple", "ctc", "grad_norm", "lr"):
            if name in values:
                self.board.add_scalar(f"train/{name}", values[name], values["update"])
        elapsed = time.monotonic() - self.started
        speed = (self.heard - self.heard_before) / max(elapsed, 1e-9)
        left = (self.heard / progress - self.heard) / max(speed, 1e-9) if progress > 0 else float("nan")
        line = (
            f"epoch {values['epoch']} update {values['update']} loss {values['loss']:.3f} lr {values['lr']:.2e} "
            f"{speed:.0f} x real time, {clock(left)} left"
        )
        self.bar.update(progress - self.bar.n)
        self.bar.set_postfix_str(line)
        if self.bar.disable and values["update"] % self.log_every == 0:
            logging.info(line)

    def epoch(self, values: dict[str, Any]) -> None:
        """The end of an epoch: validation figures, null in epochs.jsonl where they are not finite."""
        append_line(self.epochs, {k: None if v != v else v for k, v in values.items()})  # no NaN in JSON
        for name, value in values.items():
            if name not in ("epoch", "update") and value == value:
                self.board.add_scalar(f"dev/{name}", value, values["epoch"])
        logging.info(" ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()))

    def close(self) -> None:
        self.bar.close()
        self.updates.close()
        self.epochs.close()
        self.board.close()


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    if seconds != seconds or seconds == float("inf"):
        return "?"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def keep_through(path: pathlib.Path, key: str, last: int) -> None:
    """Keep the lines of a log whose `key` is at most `last`."""
    write_lines(path, (line for line in read_lines(path) if line[key] <= last))
