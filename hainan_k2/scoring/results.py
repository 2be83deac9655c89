"""icefall's result files: recogs-*.txt with the words, errs-*.txt with alignments and counts, wer-summary-*.txt.

`write_results` writes all three for a test set; `read_recogs` reads the first, of this toolkit or of an icefall recipe.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Optional, Union

from hainan_k2.files.atomic import write_atomic
from hainan_k2.scoring.wer import Score, TextPair, Words, score


def write_results(
    out_dir: Union[str, Path], set_name: str, results: Mapping[str, Iterable[TextPair]]
) -> dict[str, Score]:
    """Score every method's results on a test set and write icefall's files.

    recogs-SET-METHOD.txt holds the words, errs-SET-METHOD.txt alignments and counts, wer-summary-SET.txt a line
    `METHOD<tab>WER in percent` for every method, lowest WER first.

    Args:
      results: by method, (utterance id, reference text, hypothesis text) of every utterance.

    Returns:
      The Score of each method. Raises ValueError where an utterance id occurs twice, OSError where a file cannot be
      written.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    scores = {method: score(texts) for method, texts in results.items()}
    for method, scored in scores.items():
        stem = file_stem(set_name, method)
        texts = [(u.id, " ".join(u.reference), " ".join(u.hypothesis)) for u in scored.utterances]
        _write(out_dir / f"recogs-{stem}.txt", recogs_lines(texts))
        _write(out_dir / f"errs-{stem}.txt", _errs_lines(scored))
    ranking = sorted(scores, key=lambda method: scores[method].wer)
    _write(
        out_dir / f"wer-summary-{set_name}.txt",
        ["settings\tWER", *(f"{method}\t{100 * scores[method].wer:.2f}" for method in ranking)],
    )
    return scores


def _write(path: Path, lines: Iterable[str]) -> None:
    write_atomic(path, "".join(f"{line}\n" for line in lines))


def file_stem(set_name: str, method: str) -> str:
    """The part SET-METHOD of the names of a method's result files."""
    return f"{set_name}-{method.replace(' ', '-')}"


def recogs_lines(results: Iterable[TextPair]) -> list[str]:
    """The lines of recogs-*.txt: for every utterance `ID:<tab>ref=[...]` and `ID:<tab>hyp=[...]`, lists of words."""
    return [f"{name}:\t{side}={text.split()}" for name, *texts in results for side, text in zip(("ref", "hyp"), texts)]


def read_recogs(path: Union[str, Path]) -> list[TextPair]:
    """(utterance id, reference text, hypothesis text) of every utterance in a recogs-*.txt.

    Raises:
      ValueError: with the file and the line that has another form, or the utterance that lacks one of its two lines.
    """
    sides: dict[str, dict[str, str]] = defaultdict(dict)
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"(.+):\t(ref|hyp)=(\[.*\])", line)
        if match is None:
            raise ValueError(f"{path}:{number}: not of the form ID:<tab>ref=[...] or ID:<tab>hyp=[...]")
        name, side, words = match.groups()
        if side in sides[name]:
            raise ValueError(f"{path}:{number}: a second {side} of {name}")
        sides[name][side] = " ".join(_word_list(words, f"{path}:{number}"))
    if not sides:
        raise ValueError(f"{path}: no results in it")
    for name, texts in sides.items():
        if len(texts) < 2:
            raise ValueError(f"{path}: {name} has a {next(iter(texts))} line only")
    return [(name, texts["ref"], texts["hyp"]) for name, texts in sides.items()]


def _word_list(text: str, where: str) -> list[str]:
    try:
        words = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{where}: {text} is not a list of words")
    return words


def _errs_lines(scored: Score) -> Iterator[str]:
    """The lines of errs-*.txt, section by section."""
    e = scored.words
    yield f"%WER = {100 * e.rate:.2f}"
    yield (
        f"Errors: {e.insertions} insertions, {e.deletions} deletions, {e.substitutions} substitutions, "
        f"over {e.reference_length} reference words ({e.hits} correct)"
    )
    yield (
        "Search below for sections starting with PER-UTT DETAILS:, SUBSTITUTIONS:, DELETIONS:, "
        "INSERTIONS:, PER-WORD STATS:"
    )
    yield "\nPER-UTT DETAILS: corr or (ref->hyp)  "
    for u in scored.utterances:
        yield f"{u.id}:\t{' '.join(_merged(u.alignment))}"
    counts = Counter(pair for u in scored.utterances for pair in u.pairs())
    yield "\nSUBSTITUTIONS: count ref -> hyp"
    replaced = sorted(((n, r, h) for (r, h), n in counts.items() if r and h and r != h), reverse=True)
    yield from (f"{n}   {r} -> {h}" for n, r, h in replaced)
    yield "\nDELETIONS: count ref"
    yield from (f"{n}   {r}" for n, r in sorted(((n, r) for (r, h), n in counts.items() if r and not h), reverse=True))
    yield "\nINSERTIONS: count hyp"
    yield from (f"{n}   {h}" for n, h in sorted(((n, h) for (r, h), n in counts.items() if h and not r), reverse=True))
    yield "\nPER-WORD STATS: word  corr tot_errs count_in_ref count_in_hyp"
    yield from _word_lines(counts)


def _merged(alignment: Iterable[tuple[Words, Words]]) -> Iterator[str]:
    """Correct words, and runs of errors as (ref->hyp), with * for no word."""
    wrong: tuple[Words, Words] = ((), ())
    for reference, hypothesis in (*alignment, ((), ())):
        if reference != hypothesis:
            wrong = (wrong[0] + reference, wrong[1] + hypothesis)
            continue
        if wrong != ((), ()):
            yield f"({' '.join(wrong[0]) or '*'}->{' '.join(wrong[1]) or '*'})"
        wrong = ((), ())
        yield from reference


def _word_lines(counts: Mapping[tuple[Optional[str], Optional[str]], int]) -> Iterator[str]:
    """`WORD   HITS ERRORS IN_REFERENCES IN_HYPOTHESES` for every word, most errors first."""
    hits: Counter[str] = Counter()
    in_reference: Counter[str] = Counter()
    in_hypothesis: Counter[str] = Counter()
    for (r, h), n in counts.items():
        if r:
            in_reference[r] += n
        if h:
            in_hypothesis[h] += n
        if r and r == h:
            hits[r] += n
    errors = {w: in_reference[w] + in_hypothesis[w] - 2 * hits[w] for w in {*in_reference, *in_hypothesis}}
    for w in sorted(errors, key=lambda w: (errors[w], w), reverse=True):
        yield f"{w}   {hits[w]} {errors[w]} {in_reference[w]} {in_hypothesis[w]}"
