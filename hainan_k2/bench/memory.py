"""Peak memory of a part of a program: `before = watch_peak(device)`, the part, `peak(device) - before`."""

from __future__ import annotations

import ctypes
import pathlib
from typing import Optional

import torch


def watch_peak(device: torch.device) -> Optional[float]:
    """Reset the peak; returns the MB in use now, None where the system does not report it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 2**20
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc: return free memory, whose reuse would not count
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # Linux: resets the peak
    except (AttributeError, OSError):
        return None
    return peak(device)


def peak(device: torch.device) -> float:
    """Peak memory in MB since `watch_peak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
