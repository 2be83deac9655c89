"""Time and peak memory of a step, for the benches.

A step is a function without arguments; what it returns is dropped. It is handed over as the function that
makes it and the arguments of that, since on a CPU both are measured in fresh processes: one for time, and one
for memory, in which the allocator gives what is freed back to the system at once, so that resident memory is
memory in use.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

_FREE_AT_ONCE = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MKL_DISABLE_FAST_MM": "1",
}  # settings of glibc and of MKL
Step = Callable[[], object]


def measure(
    make_step: Callable[..., Step], arguments: tuple, small: tuple, repeats: int, device: torch.device
) -> tuple[float, int]:
    """(median seconds of `repeats` runs after one to warm up, peak bytes above what the step starts with).

    Args:
      make_step: makes the step from `arguments` and the device; a function of a module, not a lambda.
      small: arguments of a very small step, run first so that libraries are loaded and counted out.
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


def _cpu_seconds(make_step: Callable[..., Step], arguments: tuple, repeats: int) -> float:
    cpu = torch.device("cpu")
    return _median_seconds(make_step(*arguments, cpu), repeats, cpu)


def _cpu_bytes(make_step: Callable[..., Step], arguments: tuple, small: tuple) -> int:
    cpu = torch.device("cpu")
    make_step(*small, cpu)()
    step = make_step(*arguments, cpu)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
    step()
    step()
    return _resident("VmHWM") - before


def _resident(field: str) -> int:
    """Resident memory of this process in bytes: VmRSS is now, VmHWM the highest."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(status[field].split()[0])


def _call(pipe, threads: int, function: Callable, arguments: tuple) -> None:
    torch.set_num_threads(threads)
    pipe.send(function(*arguments))


def _in_child(function: Callable, *arguments):
    """function(*arguments), called in a process of its own."""
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
