"""Score recognised texts, and write and read the files that icefall users expect.

    python hainan_k2/score.py exp/decode/recogs-test-nar-greedy.txt exp/decode/recogs-test-ar-greedy.txt

prints each file's score and, from the second file on, how it differs from the first.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from hainan_k2.cli import Parser, errors_in_one_line
from hainan_k2.scoring.wer import Result, Score, Words, score


def write_results(out_dir: Path, set_name: str, results: Mapping[str, Iterable[Result]]) -> dict[str, Score]:
    """Score every method's results on a set and write icefall's files.

    recogs-SET-METHOD.txt holds the words, errs-SET-METHOD.txt alignments and counts, wer-summary-SET.txt a
    line `METHOD<tab>WER in percent` for every method, best first.
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
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def file_stem(set_name: str, method: str) -> str:
    """SET-METHOD, the part of file names that says whose results they hold."""
    return f"{set_name}-{method.replace(' ', '-')}"


def recogs_lines(results: Iterable[Result]) -> list[str]:
    """Two lines for every (id, reference, hypothesis), as in recogs-*.txt."""
    return [f"{name}:\t{side}={text.split()}" for name, *texts in results for side, text in zip(("ref", "hyp"), texts)]


def read_recogs(path: Path) -> list[Result]:
    """The results in a recogs-*.txt; ValueError names the line that is not of its form."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"(.+):\t(ref|hyp)=(\[.*\])", line)
        if match is None:
            raise ValueError(f"{path}:{number}: not of the form ID:<tab>ref=[...] or ID:<tab>hyp=[...]")
        name, side, words = match.groups()
        if side in found[name]:
            raise ValueError(f"{path}:{number}: a second {side} of {name}")
        found[name][side] = " ".join(_word_list(words, f"{path}:{number}"))
    if not found:
        raise ValueError(f"{path}: no results in it")
    for name, sides in found.items():
        if len(sides) < 2:
            raise ValueError(f"{path}: {name} has a {next(iter(sides))} line only")
    return [(name, sides["ref"], sides["hyp"]) for name, sides in found.items()]


def _word_list(text: str, where: str) -> list[str]:
    try:
        words = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{where}: {text} is not a list of words")
    return words


def _errs_lines(scored: Score) -> Iterator[str]:
    """icefall's error report, section by section."""
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
    pairs = Counter(pair for u in scored.utterances for pair in u.pairs())
    wrong = [(n, *pair) for pair, n in pairs.items() if pair[0] != pair[1]]
    yield "\nSUBSTITUTIONS: count ref -> hyp"
    replaced = sorted((entry for entry in wrong if None not in entry), reverse=True)
    yield from (f"{n}   {r} -> {h}" for n, r, h in replaced)
    yield "\nDELETIONS: count ref"
    yield from (f"{n}   {r}" for n, r in sorted(((n, r) for n, r, h in wrong if h is None), reverse=True))
    yield "\nINSERTIONS: count hyp"
    yield from (f"{n}   {h}" for n, h in sorted(((n, h) for n, r, h in wrong if r is None), reverse=True))
    yield "\nPER-WORD STATS: word  corr tot_errs count_in_ref count_in_hyp"
    yield from _word_lines(pairs)


def _merged(alignment: Iterable[tuple[Words, Words]]) -> Iterator[str]:
    """Correct words, and neighbouring errors taken together as (ref->hyp), * for no word."""
    wrong: tuple[Words, Words] = ((), ())
    for reference, hypothesis in (*alignment, ((), ())):
        if reference != hypothesis:
            wrong = (wrong[0] + reference, wrong[1] + hypothesis)
            continue
        if wrong != ((), ()):
            yield f"({' '.join(wrong[0]) or '*'}->{' '.join(wrong[1]) or '*'})"
        wrong = ((), ())
        yield from reference


def _word_lines(pairs: Mapping[tuple[str | None, str | None], int]) -> Iterator[str]:
    """Every word with its hits, its errors on either side and how often it stands on each, worst first."""
    hits, in_reference, in_hypothesis = Counter(), Counter(), Counter()
    for (r, h), n in pairs.items():
        in_reference[r] += n
        in_hypothesis[h] += n
        hits[r] += n * (r == h)
    words = {*in_reference, *in_hypothesis} - {None}
    errors = {w: in_reference[w] + in_hypothesis[w] - 2 * hits[w] for w in words}
    for w in sorted(errors, key=lambda w: (errors[w], w), reverse=True):
        yield f"{w}   {hits[w]} {errors[w]} {in_reference[w]} {in_hypothesis[w]}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description="Score recogs-*.txt files; compare each with the first.")
    parser.add_argument("recogs", nargs="+", type=Path, help="files of decode.py or an icefall recipe")
    files = parser.parse_args(argv).recogs
    with errors_in_one_line():
        scores = [score(read_recogs(path)) for path in files]
        for path, scored in zip(files, scores):
            print(f"{path}: {scored}")
        for path, scored in zip(files[1:], scores[1:]):
            c = scored.compare(scores[0])
            print(
                f"{path} less {files[0]}: WER {100 * c.difference:+.2f} % "
                f"[{100 * c.low:+.2f}, {100 * c.high:+.2f}], p = {c.p_value:.3f}"
            )


if __name__ == "__main__":
    main()
