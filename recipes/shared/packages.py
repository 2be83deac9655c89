"""Files of downloaded packages."""

from __future__ import annotations

from pathlib import Path


def find(packages: Path, pattern: str, remedy: str = "unpack the packages into it") -> Path:
    """The first path in the folder that matches. Raises ValueError where there is none, with what to do."""
    for path in sorted(packages.glob(pattern)):
        return path
    raise ValueError(f"{packages} has no {pattern}: {remedy}")
