"""Lines of speech divided into training, validation and test data by their texts."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from sources import Line

DEV, TEST = 0.08, 0.2  # texts whose hash is below DEV are for validation, those below TEST for the test


def different(lines: Iterable[Line], normalise: Callable[[str], str], left_out: Counter) -> Iterator[tuple[Line, str]]:
    """The lines that have words, with their normal form.

    Copies of an audio file and second lines of an id are left out; `left_out` counts them.
    """
    files, ids = set(), set()
    for line in lines:
        normal, digest = normalise(line.text), hashlib.sha256(line.path.read_bytes()).digest()
        reason = "no words" if not normal else "copy of another file" if digest in files else ""
        reason = reason or ("second line of an id" if line.id in ids else "")
        if reason:
            left_out[reason] += 1
        else:
            files.add(digest)
            ids.add(line.id)
            yield line, normal


def divide(lines: Iterable[tuple[Line, str]], left_out: Counter) -> dict[str, list[Line]]:
    """The lines of each split, by the hash of their normal form; roles are in test-roles.

    A line of a role is left out where its text is in the training data.
    """
    splits: dict[str, list[Line]] = defaultdict(list)
    roles, trained = [], set()
    for line, normal in lines:
        share = int.from_bytes(hashlib.sha256(normal.encode("utf-8")).digest()[:4], "big") / 2**32
        if line.role:
            roles.append((line, normal))
        elif share < DEV:
            splits["dev"].append(line)
        elif share < TEST:
            splits["test"].append(line)
        else:
            splits["train"].append(line)
            trained.add(normal)
    for line, normal in roles:
        if normal in trained:
            left_out["line of a role with a text of the training data"] += 1
        else:
            splits["test-roles"].append(line)
    return splits
