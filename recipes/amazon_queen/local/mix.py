"""What fine-tuning hears: real speech at seven speeds and synthetic speech, in one manifest of audio.

    python mix.py --manifest-dir DATA/manifests --real train,train-cut --wide wide-brown=8,wide-dialogue=2 \
        --out DATA/cuts_mix.jsonl.gz
"""

from __future__ import annotations

import argparse
import logging
import random
from collections.abc import Sequence
from pathlib import Path

from lhotse import CutSet
from lhotse.cut import Cut

from hainan_k2.config import fail
from hainan_k2.frontend.augment import perturb_speed
from hainan_k2.frontend.datamodule import open_cuts
from hainan_k2.frontend.manifests import write_manifest

SPEEDS = (0.85, 0.9, 0.95, 1.05, 1.1, 1.15)  # beside 1.0


def some(cuts: Sequence[Cut], hours: float, rng: random.Random) -> list[Cut]:
    """Random cuts of that many hours, or, said in the log, all where there are not so many."""
    have = sum(cut.duration for cut in cuts) / 3600
    if have < hours:
        logging.warning(f"{hours} h are asked for, there are {have:.2f} h: taking all")
    chosen, seconds = [], 0.0
    for cut in rng.sample(cuts, len(cuts)):
        if seconds >= hours * 3600:
            break
        chosen.append(cut)
        seconds += cut.duration
    return chosen


def shares(text: str) -> dict[str, float]:
    """{"wide-brown": 2.3} of "wide-brown=2.3"; ValueError where it is not of that form."""
    found = {}
    for part in filter(None, text.split(",")):
        name, _, hours = part.partition("=")
        try:
            found[name] = float(hours)
        except ValueError:
            raise ValueError(f"--wide {part}: write SPLIT=HOURS") from None
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--manifest-dir", type=Path, required=True, help="where prepare_manifests.py wrote")
    parser.add_argument("--real", required=True, help="splits that come at seven speeds, commas between")
    parser.add_argument("--wide", default="", help="SPLIT=HOURS of synthetic speech, commas between")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    rng = random.Random(0)

    def read(split: str) -> list[Cut]:
        return list(open_cuts(options.manifest_dir / f"librispeech_cuts_{split}.jsonl.gz"))

    try:
        real = [cut for split in options.real.split(",") for cut in read(split)]
        cuts = list(perturb_speed(CutSet.from_cuts(real), SPEEDS))
        for split, hours in shares(options.wide).items():
            cuts += some(read(split), hours, rng)
    except ValueError as error:
        fail(str(error))
    rng.shuffle(cuts)
    write_manifest(CutSet.from_cuts(cuts), options.out)
    logging.info(f"{options.out}: {len(cuts)} cuts, {sum(cut.duration for cut in cuts) / 3600:.2f} h")


if __name__ == "__main__":
    main()
