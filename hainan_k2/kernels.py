"""Which matrix kernels MKL takes on AMD processors."""

from __future__ import annotations

import os
from pathlib import Path


def choose_mkl_kernels(cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Make MKL 2020, the one in torch 1.13, use AVX2 on AMD processors that have it.

    By itself it takes its SSE kernels there, at a third of the speed. MKL looks at the variable in its first product,
    so this comes before any; other versions of MKL, which have kernels for AMD, ignore it. Where the variable is set
    already it stays as it is, and nothing is done where `cpuinfo`, in the form of Linux, cannot be read.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return
    fields = {name.strip(): value.split() for name, _, value in (line.partition(":") for line in lines)}
    if fields.get("vendor_id") == ["AuthenticAMD"] and "avx2" in fields.get("flags", ()):
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
