"""A scan for lack of memory: the largest batches run before training (icefall: scan_pessimistic_batches_for_oom)."""

from __future__ import annotations

import logging
import re

import torch

from hainan_k2.data.batches import TrainingData
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.training.updater import Objective

logger = logging.getLogger(__name__)


def scan_batches(objective: Objective, training: TrainingData) -> None:
    """Run the largest batches of the first epoch forward and backward; the model stays as it is.

    Logs the size of each and, on a CUDA device, the memory that it needs, without the two moments per weight that the
    optimizer keeps.

    Raises ValueError, with the batch, where the memory does not suffice.
    """
    model, device = objective.model.train(), objective.device
    statistics = [buffer.clone() for buffer in model.buffers()]
    for why, batch in training.largest():
        width = max(batch.seconds, default=0.0)
        size = f"{len(batch.ids)} cuts, the longest {width:.1f} s ({why}, e.g. {' '.join(batch.ids[:1])})"
        if not batch.ids:
            continue
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        try:
            objective(batch.to(device), 0, Stopwatch()).backward()
        except (RuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and not re.search("out of memory|allocate memory", str(error)):
                raise
            raise ValueError(
                f"out of memory for a batch of {size}: lower --max-duration or --max-cut-duration, and raise "
                "--accumulate to make up for it"
            ) from None
        finally:
            model.zero_grad(set_to_none=True)
        needed = f", {torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB" if device.type == "cuda" else ""
        logger.info("largest batches: %s%s", size, needed)
    for buffer, before in zip(model.buffers(), statistics):
        buffer.copy_(before)
