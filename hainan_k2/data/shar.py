"""lhotse's Shar: cuts with their audio or features in tar archives, which are read from start to end."""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional, Union

from lhotse.cut import Cut
from lhotse.shar import LazySharIterator

# Errors of lhotse and of the standard library for archives that are missing, damaged or do not belong together.
DAMAGED = (OSError, EOFError, ValueError, AssertionError, LookupError, TypeError, zlib.error, tarfile.TarError)


def is_shar(path: Union[str, Path]) -> bool:
    """Whether `path` is a folder with Shar archives, or a .json file that lists them."""
    return Path(path).is_dir() or (Path(path).suffix == ".json" and Path(path).is_file())


class SharCuts:
    """The cuts of a Shar folder, with their audio or features in memory, read again by every iteration.

    In place of the folder, a .json file may list the archives, on this machine or under a URL that lhotse opens:
    {"cuts": ["s3://speech/cuts.000000.jsonl.gz"], "recording": ["s3://speech/recording.000000.tar"]}.

    Args:
      metadata: read the cuts without their audio and features.
      shuffle_seed: the order of the archives is drawn by this number; None keeps theirs.
    Raises:
      ValueError: with the path, for what is not a readable Shar folder, when it is opened or read.
    """

    def __init__(self, path: Union[str, Path], metadata: bool = False, shuffle_seed: Optional[int] = None):
        self.path = path
        archives = listed_archives(Path(path))
        if metadata:
            archives = {"cuts": archives["cuts"]}
        order: dict[str, Any] = {}
        if shuffle_seed is not None:
            order = {"shuffle_shards": True, "seed": shuffle_seed, "stateful_shuffle": False}
        try:
            self.archives = LazySharIterator(fields=archives, **order)
        except DAMAGED as error:
            raise self._error(error) from None

    def __iter__(self) -> Iterator[Cut]:
        try:
            yield from self.archives
        except DAMAGED as error:
            raise self._error(error) from None

    def _error(self, error: Exception) -> ValueError:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        return ValueError(f"{self.path}: not a readable Shar folder: {reason}")


def listed_archives(path: Path) -> dict[str, list[str]]:
    """The archives of a Shar folder, or those that a .json file lists, by field.

    Raises ValueError where there are none, and for shell commands, which lhotse would run.
    """
    if path.is_dir():
        found: dict[str, list[str]] = {}
        for archive in sorted(path.iterdir()):
            field, _, rest = archive.name.partition(".")
            if rest.endswith((".tar", ".tar.gz")) or (field == "cuts" and ".jsonl" in rest):
                found.setdefault(field, []).append(str(archive))
        if "cuts" not in found or len(found) == 1:
            raise ValueError(
                f"{path}: no Shar archives in this folder, such as cuts.000000.jsonl.gz and recording.000000.tar"
            )
        return found
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    fields = listed.items() if isinstance(listed, dict) else ()
    sound = all(isinstance(of, list) and of and all(isinstance(name, str) for name in of) for _, of in fields)
    if not sound or "cuts" not in dict(fields) or len(dict(fields)) < 2:
        raise ValueError(f'{path}: lists no Shar archives: {{"cuts": ["cuts.000000.jsonl.gz"], "recording": [...]}}')
    for name in (name for _, of in fields for name in of):
        if name.startswith("pipe:"):
            raise ValueError(f"{path}: {name[:60]}: shell commands are not run; give paths or URLs")
    return dict(listed)
