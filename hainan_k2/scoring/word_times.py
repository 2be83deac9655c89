"""Errors of word times: `python -m hainan_k2.scoring.word_times --ctm FILE.ctm --corpus DIR`.

DIR holds reference alignments in LibriSpeech's format (*.alignment.txt), of a synthesizer or of a forced alignment.
Correctly recognised words are compared with the reference words they align to; the other reference words are counted.
"""

from __future__ import annotations

import pathlib
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from hainan_k2.cli import Parser, errors_in_one_line
from hainan_k2.text import normalise

Times = list[tuple[str, float, float]]  # word, start and end in seconds


@dataclass(frozen=True)
class TimeErrors:
    """Errors of word times, hypothesis minus reference, in seconds: `starts` and `ends` (N,) of N correct words."""

    starts: np.ndarray
    ends: np.ndarray
    utterances: int
    unmatched: int  # reference words that were not recognised

    def __str__(self) -> str:
        parts = [
            f"word {name}: median absolute error {1000 * np.median(abs(e)):.0f} ms, 90 % within "
            f"{1000 * np.quantile(abs(e), 0.9):.0f} ms, mean {1000 * e.mean():+.0f} ms"
            for name, e in (("starts", self.starts), ("ends", self.ends))
        ]
        return (
            f"{len(self.starts)} words of {self.utterances} utterances ({self.unmatched} reference words were not "
            "recognised)\n" + "\n".join(parts)
        )


def compare_times(references: dict[str, Times], hypotheses: dict[str, Times]) -> TimeErrors:
    """Errors of the hypothesis words that jiwer aligns to an equal reference word, over utterances that have both.

    Raises:
      ValueError: where there is no such word.
    """
    import jiwer

    names = sorted(set(references) & set(hypotheses))
    pairs: list[tuple[tuple[str, float, float], tuple[str, float, float]]] = []  # (reference word, hypothesis word)
    for name in names:
        reference, hypothesis = references[name], hypotheses[name]
        words = jiwer.process_words(" ".join(w for w, *_ in reference), " ".join(w for w, *_ in hypothesis))
        for chunk in words.alignments[0]:
            if chunk.type == "equal":
                pairs += zip(
                    reference[chunk.ref_start_idx : chunk.ref_end_idx],
                    hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx],
                )
    if not pairs:
        raise ValueError(
            f"no word to compare: {len(references)} utterances have reference times, {len(hypotheses)} were recognised"
        )
    differences = np.array([(h[1] - r[1], h[2] - r[2]) for r, h in pairs])
    unmatched = sum(len(references[name]) for name in names) - len(pairs)
    return TimeErrors(differences[:, 0], differences[:, 1], len(names), unmatched)


def read_ctm(path: pathlib.Path) -> dict[str, Times]:
    """Words with times by utterance. Raises ValueError with the line that is not CTM."""
    words: dict[str, Times] = defaultdict(list)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            name, _, start, length, word = line.split()[:5]
            words[name].append((word, float(start), float(start) + float(length)))
        except ValueError:
            raise ValueError(f"{path}:{number}: not of the form ID CHANNEL START DURATION WORD") from None
    return dict(words)


def read_alignments(corpus: pathlib.Path) -> dict[str, Times]:
    """Words with times by utterance from every *.alignment.txt below a folder, without silences."""
    from lhotse.recipes.librispeech import parse_alignments

    return {
        name: [(normalise(item.symbol), item.start, item.end) for item in items if item.symbol]
        for path in sorted(corpus.rglob("*.alignment.txt"))
        for name, items in parse_alignments(path).items()
    }


def main() -> None:
    parser = Parser(description="Errors of word times against reference alignments.")
    parser.add_argument(
        "--ctm", type=pathlib.Path, required=True, help="words with times, written by decode.py --write ctm"
    )
    parser.add_argument(
        "--corpus", type=pathlib.Path, required=True, help="folder with *.alignment.txt, LibriSpeech's format"
    )
    args = parser.parse_args()
    with errors_in_one_line():
        print(compare_times(read_alignments(args.corpus), read_ctm(args.ctm)))


if __name__ == "__main__":
    main()
