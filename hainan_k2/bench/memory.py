"""Peak memory of a stretch of this process: `before = watch_peak(device)`, work, `peak(device) - before`."""

from __future__ import annotations

import ctypes
import pathlib

import torch


def watch_peak(device: torch.device) -> float | None:
    """Begin to watch the peak of memory; the MB in use now, None where the system does not tell."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 2**20
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc: what is free is given back, or reusing it would not show
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak restarts at what is resident
    except (AttributeError, OSError):
        return None
    return peak(device)


def peak(device: torch.device) -> float:
    """MB at the peak since watch_peak."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
