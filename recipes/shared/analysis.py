"""What kind of errors the methods make, and where: tables in OUT_DIR/analysis.md, plots beside it.

    python hainan_k2/decode.py ... --cuts cuts_test.jsonl.gz --method ar-greedy,sar --write jsonl --out-dir decoded
    python hainan_k2/align.py --cuts manifests/cuts_test.jsonl.gz --write ctm --out-dir aligned
    python recipes/shared/analysis.py --results decoded --cuts cuts_test.jsonl.gz --lang-dir LANG \\
        --alignments aligned/alignments.ctm --out-dir analysis

errors     substitutions, deletions and insertions per 100 reference words, and two tests of the difference from the
           first method: paired bootstrap, matched pairs of segments
length     WER by the number of words of the reference
speaker    WER by speaker
times      of correct words against the forced alignment: error of starts and ends; emission delay, from the end of the
           word to the end of the frame of its last token
calibration  how far the confidence of a word is from the share of such words that is correct
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from analysis_plots import plot_calibration, plot_delays, plot_errors, plot_rates
from decoded import Decoded, read_decoded

from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import option
from hainan_k2.data.cuts import open_cuts
from hainan_k2.files.atomic import write_atomic
from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.result import Hypothesis
from hainan_k2.scoring.calibration import Calibration, calibration, judged_utterances
from hainan_k2.scoring.segments import compare_segments
from hainan_k2.scoring.wer import Score, ScoredUtterance
from hainan_k2.scoring.word_times import TimeErrors, Times, compare_times, read_ctm
from hainan_k2.text import Tokenizer

LENGTHS = ((1, 2), (3, 5), (6, 9), (10, 14), (15, 10**9))  # words of a reference, first and last


@dataclass(frozen=True)
class AnalysisConfig:
    results: str = option("", "folder of decode.py's results on one set")
    cuts: str = option("", "the cuts that were decoded")
    lang_dir: str = option("", "folder with bpe.model, or a model directory")
    alignments: str = option("", "CTM of the references, of align.py; without it no times")
    out_dir: str = option("", "folder for analysis.md and the plots")

    help_title = "input and output"


def groups(score: Score, key: Callable[[ScoredUtterance], str], names: Sequence[str]) -> dict[str, Score]:
    """The scores of the utterances with each key, in the order of `names`, without those that have none."""
    utterances: dict[str, list[ScoredUtterance]] = {name: [] for name in names}
    for u in score.utterances:
        utterances[key(u)].append(u)
    return {name: Score(tuple(of_name)) for name, of_name in utterances.items() if of_name}


def length_name(words: int) -> str:
    """The name of the group of LENGTHS; "0" for an empty reference."""
    for low, high in LENGTHS:
        if low <= words <= high:
            return f"{low}-{high}" if high < 10**9 else f"{low} and more"
    return "0"


def emissions(hypothesis: Hypothesis, pieces: Sequence[str]) -> Times:
    """The words of a hypothesis, each with the start of the frame of its first token and the end of that of its last,
    in seconds."""
    frames = [token.frame for token in hypothesis.tokens]
    return [
        (word, frames[first] * ENCODER_FRAME_SHIFT, (frames[end - 1] + 1) * ENCODER_FRAME_SHIFT)
        for word, first, end in hypothesis.spelling(pieces)
    ]


def error_rows(results: Sequence[Decoded]) -> list[list[str]]:
    rows = []
    for decoded in results:
        score, first = decoded.score, results[0].score
        low, high = score.wer_interval()
        words = max(1, score.words.reference_length)
        kinds = (score.substitutions, score.deletions, score.insertions)
        tests = ["", "", ""]
        if decoded is not results[0]:
            found, segments = score.compare(first), compare_segments(first, score)
            tests = [f"{100 * found.difference:+.2f}", f"{found.p_value:.3f}", f"{segments.p_value:.3f}"]
        rates = [f"{100 * score.wer:.2f} ({100 * low:.2f} - {100 * high:.2f})"]
        rows.append([decoded.method, *rates, *(f"{100 * n / words:.2f}" for n in kinds), *tests])
    return rows


def group_rows(by_method: dict[str, dict[str, Score]]) -> list[list[str]]:
    """A row per group: utterances, words, WER with its interval by method."""
    rows = []
    for name, first in next(iter(by_method.values())).items():
        cells = []
        for of_method in by_method.values():
            low, high = of_method[name].wer_interval()
            cells.append(f"{100 * of_method[name].wer:.2f} ({100 * low:.1f} - {100 * high:.1f})")
        rows.append([name, str(len(first.utterances)), str(first.words.reference_length), *cells])
    return rows


def time_errors(decoded: Decoded, references: dict[str, Times], pieces: Sequence[str]) -> tuple[TimeErrors, TimeErrors]:
    """Errors of the words' times, and of their emissions, whose `ends` are the emission delays."""
    words = {name: [(w.text, w.start, w.end) for w in h.words] for name, h in decoded.hypotheses.items()}
    emitted = {name: emissions(h, pieces) for name, h in decoded.hypotheses.items()}
    return compare_times(references, words), compare_times(references, emitted)


def time_row(method: str, times: TimeErrors, delays: TimeErrors) -> list[str]:
    """Milliseconds: median absolute error of starts and of ends, 90 % of the starts; mean, median, 90 % of delays."""
    figures = [np.median(abs(times.starts)), np.quantile(abs(times.starts), 0.9), np.median(abs(times.ends))]
    figures += [delays.ends.mean(), np.median(delays.ends), np.quantile(delays.ends, 0.9)]
    return [method, str(len(times.starts)), *(str(round(1000 * x)) for x in figures)]


def word_calibration(decoded: Decoded, normalise: Callable[[str], str]) -> tuple[Calibration, int]:
    """The calibration of a method's words, and how many utterances `judged_words` leaves out."""
    judged = judged_utterances(decoded.score, decoded.hypotheses, normalise)
    return calibration(word for words in judged for word in words or ()), sum(words is None for words in judged)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"## {title}", "", *(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)), ""]


def analyse(config: AnalysisConfig) -> None:
    """Write tables and plots. Raises ValueError where results, cuts and alignments do not belong together."""
    results = list(read_decoded(Path(config.results)))
    if len({decoded.set for decoded in results}) > 1:
        raise ValueError(f"{config.results} has results on several sets: decode one into a folder of its own")
    speakers = {cut.id: str(cut.supervisions[0].speaker) for cut in open_cuts(config.cuts) if cut.supervisions}
    missing = [u.id for u in results[0].score.utterances if u.id not in speakers]
    if missing:
        raise ValueError(f"{config.cuts} has no {missing[0]}: {len(missing)} decoded utterances are not among the cuts")
    tokenizer, out_dir = Tokenizer(config.lang_dir), Path(config.out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    methods = [decoded.method for decoded in results]
    tests = [f"less {methods[0]}", "p", "p of segments"]
    kinds = ["sub", "del", "ins"]
    lines = table("Errors per 100 words", ["method", "WER % (95 % interval)", *kinds, *tests], error_rows(results))
    plot_errors({d.method: d.score for d in results}, out_dir / "errors.png")
    bins = ["0", *(length_name(low) for low, _ in LENGTHS)]
    by_length = {d.method: groups(d.score, lambda u: length_name(len(u.reference)), bins) for d in results}
    by_speaker = {d.method: groups(d.score, lambda u: speakers[u.id], sorted({*speakers.values()})) for d in results}
    head = ["utterances", "words", *methods]
    lines += table("WER % by words of the reference", ["words of the reference", *head], group_rows(by_length))
    lines += table("WER % by speaker", ["speaker", *head], group_rows(by_speaker))
    plot_rates(by_length, "words of the reference", out_dir / "length.png")
    plot_rates(by_speaker, "speaker", out_dir / "speaker.png")
    if config.alignments:
        references = read_ctm(Path(config.alignments))
        found = {d.method: time_errors(d, references, tokenizer.pieces) for d in results}
        columns = ["starts, median ms", "90 % within", "ends, median ms", "delay, mean ms", "median", "90 % below"]
        rows = [time_row(method, *of_method) for method, of_method in found.items()]
        lines += table("Times of correct words", ["method", "words", *columns], rows)
        plot_delays({method: delays.ends for method, (_, delays) in found.items()}, out_dir / "delay.png")
    calibrations = {d.method: word_calibration(d, tokenizer.scoring) for d in results}
    rows = [[m, str(c.words), f"{c.error or 0.0:.3f}", str(left)] for m, (c, left) in calibrations.items()]
    lines += table("Calibration", ["method", "words", "expected calibration error", "utterances left out"], rows)
    plot_calibration({method: c for method, (c, _) in calibrations.items()}, out_dir / "calibration.png")
    write_atomic(out_dir / "analysis.md", "\n".join(lines))
    print("\n".join(lines))


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Analyse the errors of decoding methods.", AnalysisConfig)
    with errors_in_one_line():
        if not all((config.results, config.cuts, config.lang_dir, config.out_dir)):
            raise ValueError("--results, --cuts, --lang-dir and --out-dir are required")
        analyse(config)


if __name__ == "__main__":
    main()
