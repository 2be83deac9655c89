"""Checks of arguments of losses and lattice functions: a ValueError names what is wrong before k2 aborts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hainan_k2.fsa.k2 import Fsa, load_k2


def check_durations(durations: Sequence[int], rnnt: bool = False) -> tuple[int, ...]:
    """The durations as a tuple. ValueError unless they are ascending, non-negative integers and one is positive.

    Args:
      rnnt: whether the only duration 0 of an RNN-T is allowed: decoding lattices move on by max(1, d).
    """
    values = tuple(durations)
    if any(isinstance(d, bool) or not isinstance(d, int) for d in values):
        raise ValueError(f"durations must be integers (frames), got {values}")
    if rnnt and values == (0,):
        return values
    if not values or values[0] < 0 or values[-1] < 1 or any(a >= b for a, b in zip(values, values[1:])):
        raise ValueError(
            f"durations must be ascending, not negative, without repeats, with a positive one, got {values}"
        )
    return values


def check_lengths(name: str, lens: Tensor, batch: int, largest: int, of: str) -> Tensor:
    """(B,) lengths as int64 on the CPU. ValueError unless they are integers in 0 ... largest."""
    if lens.shape != (batch,) or lens.is_floating_point():
        raise ValueError(f"{name} must hold {batch} integers, got shape {tuple(lens.shape)} of {lens.dtype}")
    lens = lens.detach().to("cpu", torch.int64)
    for b, n in enumerate(lens.tolist()):
        if not 0 <= n <= largest:
            raise ValueError(f"{name}[{b}] is {n}, must lie in 0 ... {largest} ({of})")
    return lens


def check_batch(
    targets: Tensor,
    frame_lens: Tensor,
    target_lens: Tensor,
    vocab_size: int,
    batch: int,
    num_frames: int,
    num_labels: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Frame and target lengths as int64 on the CPU; targets (B, U) as int64 with padding replaced by 0.

    Raises:
      ValueError: if shapes are not those of B, T = num_frames and U = num_labels (None: any), if lengths exceed them,
        or if a label is the blank (0) or not below V.
    """
    if targets.dim() != 2 or targets.is_floating_point() or targets.size(0) != batch:
        raise ValueError(f"targets must hold integers (B={batch}, U), got {tuple(targets.shape)} of {targets.dtype}")
    if num_labels is not None and targets.size(1) != num_labels:
        raise ValueError(f"targets have {targets.size(1)} labels per row, the joint has {num_labels} + 1 positions")
    frame_lens = check_lengths("frame_lens", frame_lens, batch, num_frames, "frames of the joint")
    target_lens = check_lengths("target_lens", target_lens, batch, targets.size(1), "labels in targets")
    targets = targets.detach().to(torch.int64)
    used = torch.arange(targets.size(1), device=targets.device) < target_lens.to(targets.device).unsqueeze(1)
    wrong = ((targets < 1) | (targets >= vocab_size)) & used
    if wrong.any():
        b, u = wrong.nonzero()[0].tolist()
        label = int(targets[b, u])
        what = "the blank" if label == 0 else f"not in a vocabulary of {vocab_size}"
        raise ValueError(f"targets[{b}, {u}] is {label}, {what}: labels lie in 1 ... {vocab_size - 1}")
    return frame_lens, target_lens, targets.masked_fill(~used, 0)


def check_logits(name: str, logits: Tensor, dims: str, num_durations: int) -> int:
    """The vocabulary size V. ValueError unless the logits are floating point with the axes of `dims` and V >= 2."""
    if logits.dim() != len(dims.split(",")) or not logits.is_floating_point():
        raise ValueError(f"{name} must be floating point ({dims}), got shape {tuple(logits.shape)} of {logits.dtype}")
    vocab_size = logits.size(-1) - num_durations
    if vocab_size < 2:
        raise ValueError(
            f"{name} has {logits.size(-1)} channels: too few for blank, a token and {num_durations} durations"
        )
    return vocab_size


def check_bounds(bounds: Tensor, frame_lens: Tensor, target_lens: Tensor, num_frames: int, band: int) -> Tensor:
    """Bounds (B, T) as int64, with padding set to 0.

    Raises:
      ValueError: unless they start at 0, never fall and stay in 0 ... max(0, U + 1 - S).
    """
    if bounds.shape != (frame_lens.numel(), num_frames) or bounds.is_floating_point():
        raise ValueError(
            f"bounds must hold integers of shape {(frame_lens.numel(), num_frames)}, "
            f"got shape {tuple(bounds.shape)} of {bounds.dtype}"
        )
    device = bounds.device
    used = torch.arange(num_frames, device=device) < frame_lens.to(device).unsqueeze(1)
    bounds = bounds.detach().to(torch.int64).masked_fill(~used, 0)
    limit = (target_lens + 1 - band).clamp(min=0).to(device).unsqueeze(1)
    before = torch.nn.functional.pad(bounds, (1, 0))[:, :-1]
    wrong = ((bounds < before) | (bounds > limit)) & used
    wrong[:, :1] |= bounds[:, :1] != 0
    if wrong.any():
        b, t = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"bounds[{b}, {t}] is {int(bounds[b, t])}: bounds start at 0, never fall and stay within "
            f"0 ... {int(limit[b])} (band of {band}, {int(target_lens[b])} labels); see tdt_prune_bounds"
        )
    return bounds


def check_lattice(lattice: Fsa, name: str = "the lattice") -> None:
    """ValueError unless `lattice` is a k2.Fsa, an FsaVec and topologically sorted, hence without cycles."""
    k2 = load_k2()

    if not isinstance(lattice, k2.Fsa):
        raise ValueError(f"{name} is of type {type(lattice).__name__}: a k2.Fsa is needed")
    if len(lattice.shape) != 3:
        raise ValueError(f"{name} is a single FSA: make an FsaVec of it by k2.create_fsa_vec([fsa])")
    arcs = lattice.arcs.values()
    if (arcs[:, 1] <= arcs[:, 0]).any():
        raise ValueError(f"{name} is not topologically sorted, or has cycles: k2.top_sort(lattice) sorts it")


def check_option(name: str, value: str, options: Sequence[str]) -> None:
    """ValueError unless `value` is one of `options`."""
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}, got {value!r}")


def check_not_negative(**values: float) -> None:
    """ValueError if one of the named values is negative."""
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} must not be negative, got {value}")
