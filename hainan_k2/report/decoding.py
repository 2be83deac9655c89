"""The output of decode.py: result files, written batch by batch, and the table at the end."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from hainan_k2.files.atomic import write_atomic
from hainan_k2.inference.decoded import Decoded, of_method
from hainan_k2.result import Hypothesis
from hainan_k2.scoring.calibration import BINS, calibration, judged_utterances
from hainan_k2.scoring.results import file_stem, recogs_lines, write_results
from hainan_k2.scoring.wer import Score, score
from hainan_k2.text import Tokenizer
from hainan_k2.writers import PER_RECORDING, WRITERS

logger = logging.getLogger(__name__)


class RecogsStream:
    """Writes recogs-SET-METHOD.txt of every method batch by batch, so that a killed run keeps what it has decoded.

    Error reports of an earlier run are removed, because they do not belong to the new files. Use it as a context
    manager.
    """

    def __init__(self, out_dir: Path, set_name: str, labels: Sequence[str]):
        out_dir.mkdir(parents=True, exist_ok=True)
        stems = {label: file_stem(set_name, label) for label in labels}
        for path in [out_dir / f"wer-summary-{set_name}.txt", *(out_dir / f"errs-{s}.txt" for s in stems.values())]:
            path.unlink(missing_ok=True)
        self.files = {
            label: open(out_dir / f"recogs-{stem}.txt", "w", encoding="utf-8") for label, stem in stems.items()
        }

    def write(self, decoded: Iterable[Decoded]) -> None:
        """Append a batch of results."""
        batch = list(decoded)
        for label, file in self.files.items():
            file.writelines(f"{line}\n" for line in recogs_lines(d.texts(label) for d in batch))
            file.flush()

    def __enter__(self) -> RecogsStream:
        return self

    def __exit__(self, *error: object) -> None:
        for file in self.files.values():
            file.close()


def report(
    out_dir: Path,
    set_name: str,
    labels: Sequence[str],
    decoded: Sequence[Decoded],
    tokenizer: Tokenizer,
    seconds: dict[str, list[float]],
    kinds: Sequence[str],
) -> None:
    """Write all result files and print the table.

    Writes to `out_dir`: recogs-, errs- and wer-summary-*.txt, as icefall does; summary-SET.json with all figures; word
    times in the formats of `kinds`.

    Args:
      labels: the rows of the table, in order.
      seconds: time of "encoder" and of the search of each label, one number per repeat.
      kinds: formats of word times, of WRITERS.
    """
    scores = write_results(out_dir, set_name, {label: [d.texts(label) for d in decoded] for label in labels})
    for kind in kinds:
        for label in labels:
            write_words(
                out_dir / file_stem(set_name, label),
                kind,
                [(d.id, d.hypotheses[label]) for d in decoded if label in d.hypotheses],
            )
    audio = sum(d.seconds for d in decoded)
    failed = Counter(label for d in decoded for label in d.failures)
    methods = {label: figures(scores[label], seconds, label, failed[label]) for label in labels}
    summary = json.dumps({"audio_seconds": audio, "utterances": len(decoded), "methods": methods}, indent=1)
    write_atomic(out_dir / f"summary-{set_name}.json", summary + "\n")
    print(f"{set_name}: {len(decoded)} utterances, {audio / 60:.1f} minutes; results in {out_dir}")
    print(table(scores, audio, seconds))
    for label in labels:
        for line in (*remarks(decoded, label, tokenizer), *calibration_error(decoded, label, scores[label])):
            print(line)
    for label, count in failed.items():
        logger.error("%s failed on %d of %d utterances, which count as empty", label, count, len(decoded))


def figures(scored: Score, seconds: dict[str, list[float]], label: str, failed: int) -> dict[str, Any]:
    """The figures of a method in summary-SET.json; `failed` is the number of utterances on which it failed."""
    return {
        "wer": scored.wer,
        "cer": scored.cer,
        "interval": scored.wer_interval(),
        "substitutions": scored.substitutions,
        "deletions": scored.deletions,
        "insertions": scored.insertions,
        "encoder_seconds": seconds["encoder"],
        "search_seconds": seconds[label],
        "failed": failed,
    }


def table(scores: dict[str, Score], audio: float, seconds: dict[str, list[float]]) -> str:
    """One line per method: error rates and times.

    RTF is the real-time factor, (encoder + search seconds) / `audio` seconds. With several repeats, +- is the 95 %
    confidence interval of the mean search time (Student's t).
    """
    from scipy.stats import t

    encoder = mean(seconds["encoder"])
    wide = max(map(len, ["method", *scores]))
    lines = [
        f"{'method':{wide}s} {'WER %':>7s} {'95 % interval':>15s} {'CER %':>7s} "
        f"{'sub':>5s} {'del':>5s} {'ins':>5s} {'encoder s':>10s} {'search s':>16s} {'RTF':>8s}"
    ]
    for name, result in scores.items():
        low, high = result.wer_interval()
        search = mean(seconds[name])
        repeats = len(seconds[name])
        spread = ""
        if repeats > 1:
            spread = f" +-{t.ppf(0.975, repeats - 1) * stdev(seconds[name]) / repeats**0.5:.3f}"
        lines.append(
            f"{name:{wide}s} {100 * result.wer:7.2f} {f'{100 * low:.2f} - {100 * high:.2f}':>15s} "
            f"{100 * result.cer:7.2f} {result.substitutions:5d} {result.deletions:5d} {result.insertions:5d} "
            f"{encoder:10.2f} {f'{search:.3f}{spread}':>16s} {(encoder + search) / audio:8.4f}"
        )
    return "\n".join(lines)


def write_words(stem: Path, kind: str, results: list[tuple[str, Hypothesis]]) -> None:
    """Write word times to STEM.kind. Some formats need a file per recording: STEM/ID.kind."""
    files = {stem.with_name(f"{stem.name}.{kind}"): results}
    if kind in PER_RECORDING:
        stem.mkdir(exist_ok=True)
        files = {stem / f"{name}.{kind}": [(name, hypothesis)] for name, hypothesis in results}
    for path, part in files.items():
        path.write_text("".join(f"{line}\n" for line in WRITERS[kind](part)), encoding="utf-8")


def calibration_error(decoded: Sequence[Decoded], label: str, scored: Score) -> list[str]:
    """A line with the expected calibration error of the confidences of a method's words; none without words or
    references."""
    if not scored.words.reference_length:
        return []
    judged = judged_utterances(scored, *of_method(decoded, label))
    found = calibration(word for words in judged if words is not None for word in words)
    if found.error is None:
        return []
    return [f"{label}: expected calibration error {100 * found.error:.2f} % of {found.words} words ({BINS} bins)"]


def remarks(decoded: Sequence[Decoded], label: str, tokenizer: Tokenizer) -> list[str]:
    """Lines under the table: WER and changes after each refinement round, and the number of utterances per note."""
    hypotheses = [(d, d.hypotheses[label]) for d in decoded if label in d.hypotheses]
    lines = []
    for number in range(max((len(h.rounds) for _, h in hypotheses), default=0)):
        ids = [(d, h.rounds[min(number, len(h.rounds) - 1)].ids) for d, h in hypotheses if h.rounds]
        texts = [(d.id, d.normalise(d.reference), d.normalise(tokenizer.decode(after))) for d, after in ids]
        changed = [h.rounds[number] for _, h in hypotheses if number < len(h.rounds)]
        result = score(texts)
        lines.append(
            f"{label} round {number}: WER {100 * result.wer:.2f} % ({result.substitutions} sub, "
            f"{result.deletions} del, {result.insertions} ins); changed "
            f"{sum(r.substitutions for r in changed)}, dropped {sum(r.deletions for r in changed)} tokens"
        )
    notes = Counter(h.note.partition(" (")[0] for _, h in hypotheses if h.note)  # details in brackets differ
    return lines + [f"{label}: {count} of {len(decoded)} utterances: {note}" for note, count in sorted(notes.items())]
