"""Models averaged over epochs of an experiment: of the weights at their ends, or of all updates in them.

Both return the model in evaluation mode, the contents of its last checkpoint, and a description of what was averaged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from hainan_k2.formats.average import average_between, average_of
from hainan_k2.formats.checkpoint import (
    best_checkpoints,
    epoch_name,
    epoch_of,
    load_checkpoint,
    load_model,
    model_of_state,
    select_checkpoints,
)
from hainan_k2.formats.weights import model_of_weights
from hainan_k2.model.hainan import Hainan


def mean_of_epochs(
    exp_dir: Path, epoch: Optional[int], avg: int, best: bool = False
) -> tuple[Hainan, dict[str, Any], str]:
    """The mean of the weights at the ends of `avg` epochs up to `epoch`: the last ones, or those of lowest dev WER."""
    paths = (best_checkpoints if best else select_checkpoints)(exp_dir, epoch, avg)
    model, last = load_model(paths)
    return model.eval(), last, ("epochs " if paths[1:] else "epoch ") + ", ".join(str(epoch_of(path)) for path in paths)


def mean_between_epochs(exp_dir: Path, epoch: Optional[int], avg: int) -> tuple[Hainan, dict[str, Any], str]:
    """The mean of all samples of the running average in the `avg` epochs that end with `epoch`.

    It is computed from two checkpoints: that of `epoch` and that of the epoch before the first.
    """
    (end_path,) = select_checkpoints(exp_dir, epoch, 1)
    last = epoch_of(end_path)
    if not 1 <= avg <= last:
        raise ValueError(f"--avg {avg} of {last} epochs")
    end = load_checkpoint(end_path)
    start = load_checkpoint(select_checkpoints(exp_dir, last - avg, 1)[0]) if avg < last else None
    config, _ = model_of_state(end, end_path)
    average = average_of(end, end_path)
    weights = average_between(start and average_of(start, exp_dir / epoch_name(last - avg)), average)
    model = model_of_weights(config, weights, end_path, "its own dimensions", training_heads=True)
    every = average["every"]
    sampled = "samples after every update" if every == 1 else f"samples after every {every} updates"
    return model.eval(), end, f"{sampled} of epochs {last - avg + 1} to {last}"
