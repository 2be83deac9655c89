"""A reader on mutated files, one after the other: `python -m tests.fuzz_readers READER FOLDER COUNT SEED_FILE ...`.

FOLDER holds copies of the seed files and of what a reader looks for beside them. Each file is read as the reader
promises, or refused with a ValueError of one line that names it; {name: how many were refused} is printed at the end,
as JSON, by `truncated_audio` {name: [how many were refused, how many read in part]}. Anything else ends the process:
another exception, a crash in C, memory MEGABYTES above what sound files take, SECONDS of processor time for one file.
The last line on stderr tells which file it was.
"""

from __future__ import annotations

import hashlib
import json
import random
import resource
import signal
import sys
from pathlib import Path

import numpy as np
from lhotse.cut import Cut

from hainan_k2.data.cuts import open_cuts
from hainan_k2.data.librispeech import read_librispeech
from hainan_k2.formats.model_dir import read_model
from hainan_k2.frontend.audio import audio_blocks, decode_audio
from hainan_k2.text.tokenizer import Tokenizer
from tests.frontend.containers import UNTOLD

MEGABYTES, SECONDS = 512, 20


def mutate(content: bytes, rng: random.Random) -> bytes:
    """One to four changes: bits flipped, bytes set, numbers made extreme, parts cut out, doubled or cut off."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(min(len(changed), 120) if rng.random() < 0.7 else len(changed))  # headers, above all
        kind = rng.randrange(6)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at] = rng.randrange(256)
        elif kind == 2:
            changed[at : at + 4] = rng.choice([0, 1, 2**31 - 1, 2**32 - 1]).to_bytes(4, rng.choice(["little", "big"]))
        elif kind == 3:
            del changed[at : at + rng.randint(1, 40)]
        elif kind == 4:
            changed[at:at] = changed[at : at + rng.randint(1, 40)]
        elif kind == 5:
            del changed[max(at, 1) :]
        changed = changed or bytearray(b"x")
    return bytes(changed)


def truncate(content: bytes, rng: random.Random) -> bytes:
    """The file up to a place anywhere in it."""
    return content[: rng.randrange(1, len(content))]


def audio(path: Path) -> None:
    total = 0
    for block in audio_blocks(path):
        assert np.isfinite(block).all() and block.dtype == np.float32 and block.ndim == 1
        total += len(block)
    assert total
    samples, rate = decode_audio(path)
    assert samples.ndim == 2 and len(samples) and rate > 0


WHOLE: dict[str, int] = {}  # samples of a file as it was


def truncated_audio(path: Path) -> bool:
    """Whether less than the whole recording was read, which must not be where its container can tell."""
    count = len(decode_audio(path)[0])
    part = count < WHOLE.setdefault(path.name, count)
    assert not part or path.name.startswith((*UNTOLD, "open")), f"{count} of {WHOLE[path.name]} samples pass as whole"
    return part


def cuts(path: Path) -> None:
    assert all(isinstance(cut, Cut) for cut in open_cuts(path))


def tokens(path: Path) -> None:
    assert Tokenizer(path).pieces[:2] == ["<blk>", "<unk>"]


def transcript(path: Path) -> None:
    utterances, _ = read_librispeech(path.parent)
    assert all(u.text.strip() and u.audio.path.is_file() for u in utterances)


def model(path: Path) -> None:
    """A model directory, one file of which is mutated, with hashes that agree: as somebody would hand it over who means
    harm."""
    config = path.with_name("config.json")
    before = config.read_bytes()
    if path != config:
        facts = json.loads(before)
        facts["sha256"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        config.write_text(json.dumps(facts))
    try:
        network, tokenizer, provenance = read_model(path.parent)
    finally:
        config.write_bytes(before)
    assert network.config.vocab_size == tokenizer.vocab_size and isinstance(provenance, dict)


READERS = {reader.__name__: reader for reader in (audio, truncated_audio, cuts, tokens, transcript, model)}


def main(name: str, folder: str, count: str, *seeds: str) -> None:
    read, originals = READERS[name], [(Path(folder) / Path(seed).name, Path(seed).read_bytes()) for seed in seeds]
    for path, content in originals:
        path.write_bytes(content)
        read(path)  # sound, and what is loaded late is loaded now
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (MEGABYTES << 20),) * 2)
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)  # ends the process, in the midst of C as well
    change = truncate if read is truncated_audio else mutate
    rng, refused = random.Random(7), dict.fromkeys((path.name for path, _ in originals), 0)
    partly = dict.fromkeys(refused, 0)
    for number in range(int(count)):
        path, content = originals[number % len(originals)]
        path.write_bytes(change(content, rng))
        print(f"mutation {number}, of {path.name}", file=sys.stderr, flush=True)
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            partly[path.name] += bool(read(path))
        except ValueError as error:
            refused[path.name] += 1
            named = path.parent if read is model else path  # of a model any file may be the one that does not fit
            assert str(named) in str(error) and "\n" not in str(error), error
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        path.write_bytes(content)
    both = {name: [refused[name], partly[name]] for name in refused}
    print(json.dumps(both if read is truncated_audio else refused))


if __name__ == "__main__":
    main(*sys.argv[1:])
