"""Makes the manifest for fine-tuning: real speech at seven speeds, other speech once, and joined utterances of both.

    python mix.py --manifest-dir DATA/manifests --real train,train-cut --once wide-brown=30,no-speech=1 \
        --joined 10 --out DATA/cuts_mix.jsonl.gz

The lines of a dialogue last about 2 s, and a model trained on nothing longer fails on half a minute of speech. So some
lines are joined to longer utterances, with pauses between them.
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

logger = logging.getLogger(__name__)

PAUSE = (0.05, 0.8)  # seconds between joined utterances
LENGTH = (4.0, 28.0)  # seconds of a joined utterance
SPEEDS = (0.85, 0.9, 0.95, 1.05, 1.1, 1.15)  # in addition to 1.0


def some(cuts: Sequence[Cut], hours: float, rng: random.Random) -> list[Cut]:
    """Random cuts, `hours` in total; all cuts, with a warning, if they are fewer hours."""
    have = sum(cut.duration for cut in cuts) / 3600
    if have < hours:
        logger.warning(f"{hours} h are requested, but there are only {have:.2f} h: all are used")
    chosen, seconds = [], 0.0
    for cut in rng.sample(cuts, len(cuts)):
        if seconds >= hours * 3600:
            break
        chosen.append(cut)
        seconds += cut.duration
    return chosen


def joined(cuts: Sequence[Cut], hours: float, rng: random.Random) -> list[Cut]:
    """Join random utterances, each time up to a random length, until there are `hours` of them.

    An utterance that would exceed the length is skipped; each utterance is in the mix by itself anyway.
    """
    results, seconds, waiting = [], 0.0, iter(rng.sample(cuts, len(cuts)))
    for first in waiting:
        if seconds >= hours * 3600:
            break
        whole, longest = first, rng.uniform(*LENGTH)
        for cut in waiting:
            if whole.duration + PAUSE[1] + cut.duration > longest:
                break
            whole = whole.pad(duration=round(whole.duration + rng.uniform(*PAUSE), 3)).append(cut)
        if whole is not first:
            results.append(one_text(whole).with_id(f"joined-{len(results)}"))
            seconds += whole.duration
    if seconds < hours * 3600:
        logger.warning(f"{hours} h of joined utterances are requested, but there is speech for {seconds / 3600:.2f} h")
    return results


def one_text(whole: MixedCut) -> MixedCut:
    """Replace the supervisions of the tracks by one with all texts, of which some may be empty. It belongs to the first
    track and has the recording and channel of that track, which lhotse's validation requires."""
    text = " ".join(filter(None, (supervision.text for supervision in whole.supervisions)))
    whole = whole.drop_supervisions()
    first = whole.tracks[0].cut
    first.supervisions = [SupervisionSegment(first.id, first.recording_id, 0.0, whole.duration, text=text)]
    return whole


def shares(text: str) -> dict[str, float]:
    """Parse SPLIT=HOURS,...; ValueError if the text has another form.

    >>> shares("wide-brown=2.5,no-speech=1")
    {'wide-brown': 2.5, 'no-speech': 1.0}
    """
    hours_of = {}
    for part in filter(None, text.split(",")):
        name, _, hours = part.partition("=")
        try:
            hours_of[name] = float(hours)
        except ValueError:
            raise ValueError(f"--once {part}: write SPLIT=HOURS") from None
    return hours_of


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--manifest-dir", type=Path, required=True, help="output folder of prepare_data.py")
    parser.add_argument("--real", required=True, help="splits of real speech, used at seven speeds, comma-separated")
    parser.add_argument("--once", default="", help="SPLIT=HOURS that are used at one speed, comma-separated")
    parser.add_argument("--joined", type=float, default=0.0, help="additional hours of joined utterances")
    parser.add_argument("--hours", type=float, default=0.0, help="keep a random part of the mixture; 0: all of it")
    parser.add_argument("--out", type=Path, required=True, help="manifest to write, .jsonl.gz")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    rng = random.Random(0)

    def read(split: str) -> list[Cut]:
        return list(open_cuts(options.manifest_dir / f"librispeech_cuts_{split}.jsonl.gz"))

    try:
        once = [cut for split in options.real.split(",") for cut in read(split)]
        cuts = list(perturb_speed(CutSet.from_cuts(once), SPEEDS))
        for split, hours in shares(options.once).items():
            chosen = some(read(split), hours, rng)
            cuts += chosen
            once += chosen
        cuts += joined(once, options.joined, rng)
        if options.hours:
            cuts = some(cuts, options.hours, rng)
    except ValueError as error:
        fail(str(error))
    rng.shuffle(cuts)
    write_manifest(CutSet.from_cuts(cuts), options.out)
    logger.info(f"{options.out}: {len(cuts)} cuts, {sum(cut.duration for cut in cuts) / 3600:.2f} h")


if __name__ == "__main__":
    main()
