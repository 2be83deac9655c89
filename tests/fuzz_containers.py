"""Changed recordings in every container that libsndfile writes: `python -m tests.fuzz_containers [COUNT]`.

COUNT files (1,000 without it), the same ones each time: half are mutated, half are cut off at a random place. Prints
for each container how many were refused, and how many of those cut off were read in part: only where nothing tells.
Raises RuntimeError with the output of tests.fuzz_readers where that ended otherwise: by a crash, an exception, a lack
of memory or time.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.frontend.containers import write_all
from tests.toy import ROOT

SECONDS = 0.3  # of each recording


def fuzz(reader: str, count: int, seeds: list[Path]) -> dict[str, Any]:
    """What tests.fuzz_readers prints, in a process of its own, so that a crash or a lack of memory shows."""
    command = [sys.executable, "-m", "tests.fuzz_readers", reader, seeds[0].parent, str(count), *seeds]
    result = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    if result.returncode:
        raise RuntimeError(f"{reader}: exit code {result.returncode}: {result.stdout}{result.stderr[-2000:]}")
    return json.loads(re.findall(r"{.*}", result.stdout)[-1])  # libsndfile prints there as well, of damaged SDS


def fuzz_containers(folder: Path, count: int) -> dict[str, list[int]]:
    """Of each container: files mutated, refused of these; cut off, refused of these, read in part of these."""
    seeds = write_all(folder, SECONDS)
    random.Random(1).shuffle(seeds)  # so that a few files are of many containers
    mutated, cut = fuzz("audio", count // 2, seeds), fuzz("truncated_audio", count // 2, seeds)
    rows: dict[str, list[int]] = {}
    for number, path in enumerate(seeds):
        tried = len(range(number, count // 2, len(seeds)))
        row = rows.setdefault(path.name.rpartition("-")[0], [0] * 5)
        for column, value in enumerate((tried, mutated[path.name], tried, *cut[path.name])):
            row[column] += value
    return dict(sorted(rows.items()))


def main(count: str = "1000") -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = fuzz_containers(Path(folder), int(count))
    rows["all"] = [sum(column) for column in zip(*rows.values())]
    print(f"{'container':12}{'mutated':>10}{'refused':>10}{'cut off':>10}{'refused':>10}{'in part':>10}")
    for name, counts in rows.items():
        print(f"{name:12}" + "".join(f"{number:10}" for number in counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
