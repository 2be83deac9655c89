"""Error rates and runaway decoding in every condition of noisy_copies.py or repeated_words.py, as Markdown tables:

    python recipes/shared/robustness.py --results decode-noisy > robustness.md

of a folder into which decode.py wrote its results with `--write jsonl`. A decoding runs away where it writes on and on,
without sound behind it:

longer than twice   hypotheses with more than twice the words of their reference, and at least three words more
max_symbols         frames on which a search stopped because they had --max-symbols tokens

Only searches with the predictor have such a limit; an encoder-only search writes at most one token a frame.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from decoded import Decoded, read_decoded
from noisy_copies import MARK

from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import option
from hainan_k2.result import Hypothesis
from hainan_k2.scoring.wer import Score
from hainan_k2.search.options import SearchConfig


@dataclass(frozen=True)
class RobustnessConfig:
    results: tuple[str, ...] = option((), "folders of decode.py's results, comma between")
    max_symbols: int = option(SearchConfig().max_symbols, "--max-symbols of the decoding", at_least=1)

    help_title = "options"


@dataclass(frozen=True)
class Condition:
    """The results of a method in a condition."""

    score: Score
    longer: int  # hypotheses longer than twice their reference
    full: int  # frames with max_symbols tokens


def is_runaway(reference_words: int, hypothesis_words: int) -> bool:
    """Whether a hypothesis is longer than twice its reference, by at least three words."""
    return hypothesis_words > 2 * reference_words and hypothesis_words >= reference_words + 3


def full_frames(hypothesis: Hypothesis, max_symbols: int) -> int:
    """How many frames have at least `max_symbols` tokens."""
    return sum(count >= max_symbols for count in Counter(token.frame for token in hypothesis.tokens).values())


def conditions(decoded: Decoded, max_symbols: int) -> dict[str, Condition]:
    """The results of a method by condition, in the order in which they come; "" where an id names none."""
    groups: dict[str, list[str]] = {}
    by_id = {u.id: u for u in decoded.score.utterances}
    for name in by_id:
        groups.setdefault(name.partition(MARK)[2], []).append(name)
    found = {}
    for condition, names in groups.items():
        of_condition = [by_id[name] for name in names]
        longer = sum(is_runaway(len(u.reference), len(u.hypothesis)) for u in of_condition)
        full = sum(full_frames(decoded.hypotheses[name], max_symbols) for name in names if name in decoded.hypotheses)
        found[condition] = Condition(Score(tuple(of_condition)), longer, full)
    return found


def tables(results: Sequence[Decoded], max_symbols: int) -> list[str]:
    """Two tables with a row per condition: WER of every method; insertions and runaway decodings of every method."""
    by_method = {decoded.method: conditions(decoded, max_symbols) for decoded in results}
    names = sorted({name for of_method in by_method.values() for name in of_method}, key=in_order)
    counts = {name: len(next(iter(by_method.values()))[name].score.utterances) for name in names}
    rates, runaways = [], []
    for name in names:
        of_name = [of_method[name] for of_method in by_method.values()]
        rates.append([name, str(counts[name]), *map(rate, of_name)])
        runaways.append([name, *(f"{c.score.words.insertions}, {c.longer}, {c.full}" for c in of_name)])
    return [
        "WER % (95 % interval)",
        "",
        *table(["condition", "utterances", *by_method], rates),
        "",
        "Inserted words, hypotheses longer than twice the reference, frames with max_symbols tokens",
        "",
        *table(["condition", *by_method], runaways),
    ]


def in_order(condition: str) -> tuple[str, float]:
    """Sorts conditions by kind, then by their number, the mildest noise first."""
    kind, _, value = condition.partition("-")
    number = float(value) if value.replace(".", "").isdigit() else 0.0
    return ("" if kind == "clean" else kind), -number if kind in ("babble", "music") else number


def rate(condition: Condition) -> str:
    low, high = condition.score.wer_interval()
    return f"{100 * condition.score.wer:.2f} ({100 * low:.1f} - {100 * high:.1f})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Error rates and runaway decoding by condition.", RobustnessConfig)
    with errors_in_one_line():
        if not config.results:
            raise ValueError("--results is required: folders of decode.py's results")
        for folder in config.results:
            print("\n".join([f"## {folder}", "", *tables(list(read_decoded(Path(folder))), config.max_symbols), ""]))


if __name__ == "__main__":
    main()
