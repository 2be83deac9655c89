"""What fine-tuning hears: real speech at seven speeds, synthetic speech and both joined, in one manifest of audio.

    python mix.py --manifest-dir DATA/manifests --real train,train-cut --wide wide-brown=30,wide-dialogue=2 \
        --joined 10 --out DATA/cuts_mix.jsonl.gz

The lines of a dialogue last 2 s, and a model that has heard nothing longer loses its way in half a minute of speech:
some are joined, with pauses between.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from pathlib import Path

from lhotse import CutSet, SupervisionSegment
from lhotse.cut import Cut, MixedCut

from hainan_k2.cli import Parser, fail
from hainan_k2.data.augment import perturb_speed
from hainan_k2.data.cuts import open_cuts
from hainan_k2.data.manifests import write_manifest

PAUSE = (0.05, 0.8)  # seconds between utterances that are joined
LENGTH = (4.0, 28.0)  # seconds of what they make
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


def joined(cuts: Sequence[Cut], hours: float, rng: random.Random) -> list[Cut]:
    """Utterances in random order, one after the other until a random length is reached, of that many hours. What would
    go beyond that length is left out here: all utterances are in the mix by themselves too."""
    found, seconds, waiting = [], 0.0, iter(rng.sample(cuts, len(cuts)))
    for first in waiting:
        if seconds >= hours * 3600:
            break
        whole, longest = first, rng.uniform(*LENGTH)
        for cut in waiting:
            if whole.duration + PAUSE[1] + cut.duration > longest:
                break
            whole = whole.pad(duration=round(whole.duration + rng.uniform(*PAUSE), 3)).append(cut)
        if whole is not first:
            found.append(one_text(whole).with_id(f"joined-{len(found)}"))
            seconds += whole.duration
    if seconds < hours * 3600:
        logging.warning(f"{hours} h are to be joined, there is enough for {seconds / 3600:.2f} h")
    return found


def one_text(whole: MixedCut) -> MixedCut:
    """With one supervision instead of one for each track, the texts one after the other. It stands on the first track
    and has that recording's name and channel: lhotse checks that of every batch."""
    text = " ".join(supervision.text for supervision in whole.supervisions)
    whole = whole.drop_supervisions()
    first = whole.tracks[0].cut
    first.supervisions = [SupervisionSegment(first.id, first.recording_id, 0.0, whole.duration, text=text)]
    return whole


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
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--manifest-dir", type=Path, required=True, help="where prepare_manifests.py wrote")
    parser.add_argument("--real", required=True, help="splits that come at seven speeds, commas between")
    parser.add_argument("--wide", default="", help="SPLIT=HOURS of synthetic speech, commas between")
    parser.add_argument("--joined", type=float, default=0.0, help="hours of them, joined to longer stretches, beside")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    rng = random.Random(0)

    def read(split: str) -> list[Cut]:
        return list(open_cuts(options.manifest_dir / f"librispeech_cuts_{split}.jsonl.gz"))

    try:
        once = [cut for split in options.real.split(",") for cut in read(split)]
        cuts = list(perturb_speed(CutSet.from_cuts(once), SPEEDS))
        for split, hours in shares(options.wide).items():
            chosen = some(read(split), hours, rng)
            cuts += chosen
            once += chosen
        cuts += joined(once, options.joined, rng)
    except ValueError as error:
        fail(str(error))
    rng.shuffle(cuts)
    write_manifest(CutSet.from_cuts(cuts), options.out)
    logging.info(f"{options.out}: {len(cuts)} cuts, {sum(cut.duration for cut in cuts) / 3600:.2f} h")


if __name__ == "__main__":
    main()
