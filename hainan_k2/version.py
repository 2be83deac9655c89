"""The version of the running code, which trainings and exports record."""

from __future__ import annotations

import pathlib
import subprocess
from typing import Optional

from hainan_k2 import __version__

PACKAGE = pathlib.Path(__file__).resolve().parent


def code_version(package: pathlib.Path = PACKAGE) -> str:
    """The commit (git describe) where the package runs from a checkout of this project, else the package's version.

    An installed package may be inside another repository, whose commits are not of this code. So the commit counts only
    where the repository's top level is the folder above the package and has the package under version control.
    """
    top = _git(package, "rev-parse", "--show-toplevel")
    if top and pathlib.Path(top) == package.parent and _git(package, "ls-files", "__init__.py"):
        return _git(package, "describe", "--always", "--dirty") or f"version {__version__}"
    return f"version {__version__}"


def _git(folder: pathlib.Path, *words: str) -> Optional[str]:
    """The output of git in a folder; None where git is missing or fails."""
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
