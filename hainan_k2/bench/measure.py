"""Time and peak memory of a step, for the benchmarks.

A step is a function without arguments whose result is dropped. On a CPU time and memory are measured in a new process
each, so callers pass the function that makes the step, and its arguments. In the process for memory the allocator
returns freed memory to the system at once, so that resident memory is memory in use.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

_FREE_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MKL_DISABLE_FAST_MM": "1"}  # for glibc and MKL
Step = Callable[[], object]


def describe(device: torch.device) -> str:
    """The name of a GPU, or "CPU" and the number of torch's threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def measure(
    make_step: Callable[..., Step],
    arguments: tuple[Any, ...],
    small: tuple[Any, ...],
    repeats: int,
    device: torch.device,
) -> tuple[float, int]:
    """Measure a step.

    Args:
      make_step: makes the step from `arguments` and the device; a function of a module, not a lambda.
      small: arguments of a very small step, which runs first, so that the memory of libraries does not count.
      repeats: timed runs, after one to warm up.

    Returns:
      The median seconds of a run, and the peak bytes above those in use when the step begins. Raises RuntimeError where
      a measuring process ends early, e.g. for lack of memory.
    """
    if device.type == "cpu":
        return _in_child(_cpu_seconds, make_step, arguments, repeats), _in_child(
            _cpu_bytes, make_step, arguments, small
        )
    make_step(*small, device)()
    step = make_step(*arguments, device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    seconds = _median_seconds(step, repeats, device)
    return seconds, torch.cuda.max_memory_allocated(device) - before


def _median_seconds(step: Step, repeats: int, device: torch.device) -> float:
    times = []
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def _cpu_seconds(make_step: Callable[..., Step], arguments: tuple[Any, ...], repeats: int) -> float:
    cpu = torch.device("cpu")
    return _median_seconds(make_step(*arguments, cpu), repeats, cpu)


def _cpu_bytes(make_step: Callable[..., Step], arguments: tuple[Any, ...], small: tuple[Any, ...]) -> int:
    cpu = torch.device("cpu")
    make_step(*small, cpu)()
    step = make_step(*arguments, cpu)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    step()
    step()
    return _resident("VmHWM") - before


def _resident(field: str) -> int:
    """Resident memory of this process in bytes: VmRSS the current one, VmHWM the highest."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(status[field].split()[0])


def _call(pipe: Connection, threads: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(threads)
    pipe.send(function(*arguments))


def _in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments), called in a new process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_call, args=(theirs, torch.get_num_threads(), function, arguments))
    if function is _cpu_bytes:
        os.environ.update(_FREE_AT_ONCE)
    try:
        child.start()
    finally:
        for name in _FREE_AT_ONCE:
            os.environ.pop(name, None)
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        child.join()
        raise RuntimeError(f"{arguments}: the measuring process ended with exit code {child.exitcode}") from None
    finally:
        child.join()
