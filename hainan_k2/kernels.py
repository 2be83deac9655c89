"""The matrix kernels that MKL uses on AMD processors."""

from __future__ import annotations

import os
from pathlib import Path


def choose_mkl_kernels(cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Make MKL 2020, the version in torch 1.13, use AVX2 on AMD processors that have it.

    Its default there are SSE kernels, three times slower. MKL reads the environment variable at its first matrix
    product, so this function must run before; newer versions of MKL, which have kernels for AMD, ignore the variable. A
    value set by the user stays. Without a readable `cpuinfo`, as outside Linux, the function does nothing.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return
    fields = {name.strip(): value.split() for name, _, value in (line.partition(":") for line in lines)}
    if fields.get("vendor_id") == ["AuthenticAMD"] and "avx2" in fields.get("flags", ()):
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
