"""A fuzzer of the reader of PyTorch archives: `python -m tests.files.fuzz_torch_archives FOLDER COUNT ARCHIVE ...`.

Every mutated archive must be read, or refused with a ValueError of one line that names it. The process ends with an
error for another exception, a crash in C, memory of more than MEGABYTES above that of the intact archives, or SECONDS
of processor time for one file. Prints {name: number of refused archives} as JSON.
"""

from __future__ import annotations

import io
import json
import random
import resource
import signal
import struct
import sys
import zipfile
from pathlib import Path

from hainan_k2.files.torch_archive import read_torch_archive

MEGABYTES, SECONDS = 256, 20
SPICE = (
    b"c__builtin__\neval\n",
    b"cposix\nsystem\n",
    b"R",
    b"b",
    b"\x81",
    b"0",
    b"2",
    b"(",
    b"t",
    b"}",
    b"]",
    b"u",
    b"Q",
    b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
    b"J\xff\xff\xff\x7f",
    b"r\xff\xff\xff\xff",
    b"j\xff\xff\xff\xff",
    b"h\x00",
    b"\x96" + b"\xff" * 7 + b"\x7f",
    b"B\xff\xff\xff\x7f",
    b"X\xff\xff\xff\x7f",
    b"M\xff\xff",
    b"N",
    b".",
)


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at, kind = rng.randrange(len(changed)), rng.randrange(5)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at] = rng.randrange(256)
        elif kind == 2:
            changed[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 2**31 - 1, 2**32 - 1)))
        elif kind == 3:
            del changed[at : at + rng.randint(1, 30)]
        else:
            changed[at:at] = rng.choice(SPICE)
        changed = changed or bytearray(b"x")
    return bytes(changed)


def mutate(content: bytes, rng: random.Random) -> bytes:
    """The archive with changed bytes, or with a changed file, and a directory and checksums that match."""
    if rng.random() < 0.3:
        return mutate_bytes(content, rng)
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(written, "w") as changed:
        names = archive.namelist()
        program = next(name for name in names if name.endswith("data.pkl"))
        chosen = program if rng.random() < 0.8 else rng.choice(names)
        for name in names:
            data = archive.read(name)
            changed.writestr(name, mutate_bytes(data, rng) if name == chosen and data else data)
    return written.getvalue()


def main(folder: str, count: str, *seeds: str) -> None:
    originals = [(Path(seed).name, Path(seed).read_bytes()) for seed in seeds]
    for seed in seeds:
        read_torch_archive(seed)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (MEGABYTES << 20),) * 2)
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)  # ends the process, in the midst of C as well
    rng, refused = random.Random(11), dict.fromkeys((name for name, _ in originals), 0)
    for number in range(int(count)):
        name, content = originals[number % len(originals)]
        path = Path(folder) / name
        path.write_bytes(mutate(content, rng))
        print(f"mutation {number}, of {name}", file=sys.stderr, flush=True)
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            read_torch_archive(path)
        except ValueError as error:
            refused[name] += 1
            assert str(path) in str(error) and "\n" not in str(error), error
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    print(json.dumps(refused))


if __name__ == "__main__":
    main(*sys.argv[1:])
