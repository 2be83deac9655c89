"""Which code it is that runs, for the record that a training keeps."""

from __future__ import annotations

import pathlib
import subprocess
from typing import Optional

from hainan_k2 import __version__

PACKAGE = pathlib.Path(__file__).resolve().parent


def code_version(package: pathlib.Path = PACKAGE) -> str:
    """The commit (git describe) of a checkout of this project that the package is in, else the package's version.

    An installed package may lie in a repository of its user, whose commits say nothing about this code: the checkout
    counts only if its top level is the folder above the package and the package is under version control there.
    """
    top = _git(package, "rev-parse", "--show-toplevel")
    if top and pathlib.Path(top) == package.parent and _git(package, "ls-files", "__init__.py"):
        return _git(package, "describe", "--always", "--dirty") or f"version {__version__}"
    return f"version {__version__}"


def _git(folder: pathlib.Path, *words: str) -> Optional[str]:
    """What git prints in a folder; None where there is no git, or it refuses."""
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
