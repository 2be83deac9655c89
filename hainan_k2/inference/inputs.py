"""The audio files that a command's arguments name: files, folders, patterns, and paths on standard input."""

from __future__ import annotations

import errno
import glob
import logging
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hainan_k2.files.text_tables import printable
from hainan_k2.frontend.audio import is_audio_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Input:
    """A path that an argument leads to.

    `place` is its path below the folder that was named, or its file name: where its results are written. `failure` is
    one line that names a recording that cannot be read; `skipped` says why a path that is no recording is left out.
    """

    path: str
    place: str = ""
    failure: str = ""
    skipped: str = ""


class Inputs:
    """The recordings that arguments name, each once, in order.

    `by_path` holds the inputs that were yielded. `left_out` counts the others by reason; the log names each path that
    is no recording. `has(path)` tells whether a recording was done before.
    """

    def __init__(self, arguments: Iterable[str], has: Callable[[str], bool]):
        self.arguments, self.has = arguments, has
        self.by_path: dict[str, Input] = {}
        self.left_out: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Input]:
        for item in find_audio(self.arguments):
            if item.skipped:
                logger.warning("skipped: %s: %s", printable(item.path), printable(item.skipped))
                self.left_out["skipped"] += 1
            elif item.path in self.by_path:
                self.left_out["named more than once"] += 1
            elif self.has(item.path):
                self.left_out["done before"] += 1
            else:
                self.by_path[item.path] = item
                yield item


def find_audio(arguments: Iterable[str]) -> Iterator[Input]:
    """Yield all audio that the arguments name, in order; "-" stands for paths on standard input, one per line.

    A folder is searched with its subfolders (`search_folder`). A name that does not exist is a pattern, in which "**"
    matches any folders. An argument that leads to no audio gives an Input with a failure; the others are not affected.
    """
    for argument in arguments:
        if argument == "-":
            for line in sys.stdin.buffer:
                if line.strip():
                    yield from _named(os.fsdecode(line.rstrip(b"\n")))
        else:
            yield from _named(argument)


def _named(argument: str) -> Iterator[Input]:
    kind = kind_of(argument)
    if kind == "folder":
        yield from search_folder(argument)
    elif glob.has_magic(argument) and not os.path.lexists(argument):
        matches = sorted(glob.glob(argument, recursive=True))
        audio = [match for match in matches if is_audio_name(match)]
        if len(matches) > len(audio):
            logger.info(
                "%s: left out %d matches without an audio file ending", printable(argument), len(matches) - len(audio)
            )
        if not audio:
            yield Input(argument, failure=f"{argument}: no audio file matches this pattern")
        for match in audio:
            yield _input(match, os.path.basename(match), kind_of(match))
    else:
        yield _input(argument, os.path.basename(argument), kind)


def _input(path: str, place: str, kind: str) -> Input:
    return Input(path, place, failure="" if kind == "file" else f"{path}: {kind}")


def kind_of(path: str) -> str:
    """ "file", "folder", or, in words, why it is neither. Links are followed."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode) and not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except FileNotFoundError:
        return "a link that leads nowhere" if os.path.lexists(path) else "no such file"
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # a null byte
        return str(error)
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISREG(mode):
        return "file"
    return "a named pipe, not a file" if stat.S_ISFIFO(mode) else "a device or socket, not a file"


def search_folder(folder: str) -> list[Input]:
    """The files with an audio file ending in a folder and its subfolders, in the order of their names.

    Links to folders are followed. A folder is searched once, however many links lead to it, and under its own name if
    that is below `folder`; circular and repeated links are skipped. Folders that cannot be read, and paths with an
    audio file ending that are no files, are failures. Other broken links, pipes and devices are skipped.
    """
    items: list[Input] = []
    others = 0  # files without an audio file ending
    seen: dict[tuple[int, int], str] = {}
    folders: list[str] = [folder]  # still to be searched
    links: list[str] = []  # searched after the folders
    while folders or links:
        current = folders.pop() if folders else links.pop(0)
        try:
            info = os.stat(current)
            first = seen.setdefault((info.st_dev, info.st_ino), current)
            if first != current:
                items.append(Input(current, skipped=f"the folder {first} again"))
                continue
            with os.scandir(current) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            items.append(Input(current, failure=f"{current}: folder cannot be read: {error.strerror or error}"))
            continue
        for entry in entries:
            kind, audio = kind_of(entry.path), is_audio_name(entry.name)
            if kind == "folder":
                (links if entry.is_symlink() else folders).append(entry.path)
            elif audio:
                items.append(_input(entry.path, os.path.relpath(entry.path, folder), kind))
            elif kind == "file":
                others += 1
            else:
                items.append(Input(entry.path, skipped=kind))
    if others:
        logger.info("%s: left out %d files without an audio file ending", printable(folder), others)
    if not any(item.place or item.failure for item in items):
        items.append(Input(folder, failure=f"{folder}: no audio files in this folder"))
    return sorted(items, key=lambda item: item.path.split(os.sep))


def utterance_id(path: str) -> str:
    """The id of a path's results, percent-encoded as in URLs: spaces, "%", unprintable characters and bytes that are
    not UTF-8 become %NN. Different paths have different ids.

    urllib.parse.unquote(id, errors="surrogateescape") gives the path back.

    >>> utterance_id("talks/a b.wav")
    'talks/a%20b.wav'
    """
    return "".join(
        c if c.isprintable() and c not in " %" else "".join(f"%{byte:02X}" for byte in os.fsencode(c)) for c in path
    )
