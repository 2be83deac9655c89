"""Logs of a training: a JSON line per update and per epoch, TensorBoard, and a progress bar or log lines."""

from __future__ import annotations

import logging
import pathlib
import sys
import time
from typing import Any

from tqdm import tqdm

from hainan_k2.files.jsonl import append_line, read_lines, write_lines

logger = logging.getLogger(__name__)


class TrainLog:
    """Writes updates.jsonl, epochs.jsonl and tensorboard/ in the experiment folder.

    A resumed run removes the lines after its checkpoint, since it repeats those updates. So the files hold each update
    once, however often training was killed.

    Args:
      exp_dir: the experiment folder.
      updates, epoch: updates done, and the epoch in progress (from 1), of the checkpoint that training resumes from.
      log_every: updates between log lines where stderr is no terminal.
    """

    def __init__(self, exp_dir: pathlib.Path, updates: int, epoch: int, log_every: int):
        from torch.utils.tensorboard import SummaryWriter

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
        self.started, self.audio_before, self.audio = time.monotonic(), 0.0, 0.0  # seconds

    def begin(self, audio_seconds: float) -> None:
        """Start the clock of a run that resumes after `audio_seconds` of audio."""
        self.started, self.audio_before, self.audio = time.monotonic(), audio_seconds, audio_seconds

    def update(self, values: dict[str, Any], progress: float, seconds: float) -> None:
        """Log an update.

        Args:
          values: losses and the like by name; "update", "epoch", "loss" and "lr" must be among them.
          progress: fraction of the training that is done.
          seconds: seconds of audio in the update's batch.
        """
        self.audio += seconds
        append_line(self.updates, values)
        for name in ("loss", "tdt", "rnnt", "simple", "ctc", "grad_norm", "lr"):
            if name in values:
                self.board.add_scalar(f"train/{name}", values[name], values["update"])
        elapsed = time.monotonic() - self.started
        speed = (self.audio - self.audio_before) / max(elapsed, 1e-9)
        left = (self.audio / progress - self.audio) / max(speed, 1e-9) if progress > 0 else float("nan")
        line = (
            f"epoch {values['epoch']} update {values['update']} loss {values['loss']:.3f} lr {values['lr']:.2e} "
            f"{speed:.0f} x real time, {clock(left)} left"
        )
        self.bar.update(progress - self.bar.n)
        self.bar.set_postfix_str(line)
        if self.bar.disable and values["update"] % self.log_every == 0:
            logger.info(line)

    def epoch(self, values: dict[str, Any]) -> None:
        """Log an epoch with its validation figures; NaN becomes null in epochs.jsonl."""
        append_line(self.epochs, {k: None if v != v else v for k, v in values.items()})
        for name, value in values.items():
            if name not in ("epoch", "update") and value == value:
                self.board.add_scalar(f"dev/{name}", value, values["epoch"])
        logger.info(" ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()))

    def close(self) -> None:
        self.bar.close()
        self.updates.close()
        self.epochs.close()
        self.board.close()


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss; "?" where they are not finite."""
    if seconds != seconds or seconds == float("inf"):
        return "?"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def keep_through(path: pathlib.Path, key: str, last: int) -> None:
    """Remove the lines of a JSON lines file whose `key` is above `last`."""
    write_lines(path, (line for line in read_lines(path) if line[key] <= last))
