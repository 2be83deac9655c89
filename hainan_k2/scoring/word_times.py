"""How exact word times are: `python -m hainan_k2.scoring.word_times --ctm FILE.ctm --corpus DIR`.

DIR holds LibriSpeech-form alignments (*.alignment.txt): the synthesizer's truth, or a forced alignment. Words that were
recognised are compared with the words they were aligned to; wrong words have no true time and are counted apart.
"""

from __future__ import annotations

import pathlib
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from hainan_k2.cli import Parser, fail
from hainan_k2.text import normalise

Times = list[tuple[str, float, float]]  # word, start and end in seconds


@dataclass(frozen=True)
class TimeErrors:
    """Hypothesis less truth, in seconds, of `starts` and `ends` of every recognised word."""

    starts: np.ndarray
    ends: np.ndarray
    utterances: int
    unmatched: int  # true words that were not recognised

    def __str__(self) -> str:
        parts = [
            f"word {name}: median absolute error {1000 * np.median(abs(e)):.0f} ms, 90 % within "
            f"{1000 * np.quantile(abs(e), 0.9):.0f} ms, mean {1000 * e.mean():+.0f} ms"
            for name, e in (("starts", self.starts), ("ends", self.ends))
        ]
        return (
            f"{len(self.starts)} words of {self.utterances} utterances ({self.unmatched} true words were not "
            "recognised)\n" + "\n".join(parts)
        )


def compare_times(truth: dict[str, Times], found: dict[str, Times]) -> TimeErrors:
    """Errors of the words in `found` that jiwer aligns to the same word of `truth`; ValueError where there is none."""
    import jiwer

    names = sorted(set(truth) & set(found))
    pairs, unmatched = [], sum(len(truth[name]) for name in names)
    for name in names:
        words = jiwer.process_words(" ".join(w for w, *_ in truth[name]), " ".join(w for w, *_ in found[name]))
        for chunk in words.alignments[0]:
            if chunk.type == "equal":
                pairs += zip(
                    truth[name][chunk.ref_start_idx : chunk.ref_end_idx],
                    found[name][chunk.hyp_start_idx : chunk.hyp_end_idx],
                )
    if not pairs:
        raise ValueError(f"no word to compare: {len(truth)} utterances have true times, {len(found)} were recognised")
    differences = np.array([(f[1] - t[1], f[2] - t[2]) for t, f in pairs])
    return TimeErrors(differences[:, 0], differences[:, 1], len(names), unmatched - len(pairs))


def read_ctm(path: pathlib.Path) -> dict[str, Times]:
    """Words by utterance; ValueError names the line that is not CTM."""
    found: dict[str, Times] = defaultdict(list)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            name, _, start, length, word = line.split()[:5]
            found[name].append((word, float(start), float(start) + float(length)))
        except ValueError:
            raise ValueError(f"{path}:{number}: not of the form ID CHANNEL START DURATION WORD") from None
    return dict(found)


def read_truth(corpus: pathlib.Path) -> dict[str, Times]:
    """Word times by utterance out of every *.alignment.txt below a folder, silences left out."""
    from lhotse.recipes.librispeech import parse_alignments

    return {
        name: [(normalise(item.symbol), item.start, item.end) for item in items if item.symbol]
        for path in sorted(corpus.rglob("*.alignment.txt"))
        for name, items in parse_alignments(path).items()
    }


def main() -> None:
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--ctm", type=pathlib.Path, required=True, help="words and times, of decode.py --write ctm")
    parser.add_argument("--corpus", type=pathlib.Path, required=True, help="folder with *.alignment.txt")
    args = parser.parse_args()
    try:
        print(compare_times(read_truth(args.corpus), read_ctm(args.ctm)))
    except (ValueError, OSError) as error:
        fail(str(error))


if __name__ == "__main__":
    main()
