"""Where a model runs."""

from __future__ import annotations

import torch


def pick_device(name: str) -> torch.device:
    """The device of that name, `auto`: CUDA where there is one; ValueError where there is none of that name."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device {name}: say auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {name}: torch sees {torch.cuda.device_count()} CUDA devices here; say --device cpu")
    return device
