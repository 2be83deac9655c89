"""MKL's kernels are set on AMD processors only, and not where the user has set them."""

import os
import subprocess
import sys

import pytest

from hainan_k2.kernels import choose_mkl_kernels
from tests.recipes.shell import ROOT

VARIABLE = "MKL_DEBUG_CPU_TYPE"
CPUINFO = "processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: a processor\nflags\t\t: fpu sse4_2 {flags}\n\n"


@pytest.mark.parametrize(
    "vendor, flags, before, after",
    [
        ("AuthenticAMD", "avx avx2 fma", None, "5"),
        ("AuthenticAMD", "avx avx2 fma", "4", "4"),
        ("AuthenticAMD", "avx", None, None),
        ("GenuineIntel", "avx avx2 fma", None, None),
    ],
)
def test_avx2_is_chosen_on_amd_alone(vendor, flags, before, after, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, before or "none")  # so that the environment is as it was after the test
    if not before:
        monkeypatch.delenv(VARIABLE)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(2 * CPUINFO.format(vendor=vendor, flags=flags))
    choose_mkl_kernels(cpuinfo)
    assert os.environ.get(VARIABLE) == after


def test_no_cpuinfo_is_no_error(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    choose_mkl_kernels(tmp_path / "none")
    assert VARIABLE not in os.environ


def test_importing_the_package_chooses():
    code = (
        "import os, pathlib, hainan_k2.kernels as k\n"
        f"chosen = os.environ.pop({VARIABLE!r}, None)\n"
        f"k.choose_mkl_kernels()\nassert chosen == os.environ.get({VARIABLE!r}), chosen\n"
        "print(chosen)"
    )
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
