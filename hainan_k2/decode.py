"""Decode cuts by one method or many: `python hainan_k2/decode.py --exp-dir exp --cuts test.jsonl.gz --method all ...`.

The encoder runs once per batch; every method searches its output. Writes recogs-, errs- and wer-summary-*.txt, word
times on demand, and prints one line per method.
"""

from __future__ import annotations

import json
import logging
import pathlib
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Optional

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from scipy.stats import t  # noqa: E402

from hainan_k2.config import fail, option, parse  # noqa: E402
from hainan_k2.frontend.datamodule import DataConfig  # noqa: E402
from hainan_k2.result import WRITERS, Hypothesis  # noqa: E402
from hainan_k2.score import Score, score, write_results  # noqa: E402
from hainan_k2.search import METHODS, SearchConfig, choose_methods  # noqa: E402
from hainan_k2.text import Tokenizer, normalise  # noqa: E402
from hainan_k2.tools.batches import EvaluationData  # noqa: E402
from hainan_k2.tools.checkpoint import load_model, select_checkpoints  # noqa: E402
from hainan_k2.tools.device import pick_device  # noqa: E402
from hainan_k2.tools.evaluate import Decoded, decode_batches  # noqa: E402
from hainan_k2.tools.knowledge import KnowledgeConfig, load_knowledge  # noqa: E402
from hainan_k2.tools.stopwatch import Stopwatch  # noqa: E402


@dataclass(frozen=True)
class DecodeConfig:
    exp_dir: str = option("exp", "experiment folder of train.py")
    epoch: Optional[int] = option(None, "last of the epoch checkpoints to average; none: the newest")
    avg: int = option(1, "how many epoch checkpoints to average")
    cuts: str = option("", "lhotse cuts to decode, .jsonl.gz")
    lang_dir: str = option("", "folder with bpe.model, of lang/train_bpe.py")
    method: tuple[str, ...] = option(("ar-greedy", "nar-greedy"),
                                     "methods, comma between: all, or of " + " ".join(METHODS))
    out_dir: str = option("", "where results go; default: EXP_DIR/decode")
    write: tuple[str, ...] = option((), "word times as well, of " + " ".join(WRITERS))
    max_duration: float = option(200.0, "seconds of audio in a batch, padding included")
    num_workers: int = option(1, "processes that read features; 0 reads in the main one")
    repeats: int = option(1, "times to decode everything, for a confidence interval of the search seconds")
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda where there is one")

    def __post_init__(self):
        unknown = [kind for kind in self.write if kind not in WRITERS]
        if unknown:
            raise ValueError(f"--write {','.join(unknown)}: there are {', '.join(WRITERS)}")
        if self.repeats < 1:
            raise ValueError(f"repeats is {self.repeats}: at least 1")


def table(scores: dict[str, Score], audio: float, seconds: dict[str, list[float]]) -> str:
    """One line per method. `seconds` holds the encoder's and every method's, one number per repeat; the real-time
    factor is encoder + search seconds over `audio` seconds; +- is the 95 % interval of the mean (Student's t)."""
    encoder = mean(seconds["encoder"])
    lines = [f"{'method':12s} {'WER %':>7s} {'95 % interval':>15s} {'CER %':>7s} {'sub':>5s} {'del':>5s} {'ins':>5s} "
             f"{'encoder s':>10s} {'search s':>16s} {'RTF':>8s}"]
    for name, result in scores.items():
        low, high = result.wer_interval()
        search = mean(seconds[name])
        repeats = len(seconds[name])
        spread = ""
        if repeats > 1:
            spread = f" +-{t.ppf(0.975, repeats - 1) * stdev(seconds[name]) / repeats ** 0.5:.3f}"
        lines.append(f"{name:12s} {100 * result.wer:7.2f} {f'{100 * low:.2f} - {100 * high:.2f}':>15s} "
                     f"{100 * result.cer:7.2f} {result.substitutions:5d} {result.deletions:5d} {result.insertions:5d} "
                     f"{encoder:10.2f} {f'{search:.3f}{spread}':>16s} {(encoder + search) / audio:8.4f}")
    return "\n".join(lines)


def write_words(stem: pathlib.Path, kind: str, results: list[tuple[str, Hypothesis]]) -> None:
    """STEM.kind, or for subtitles, which are of one recording each, STEM/ID.kind."""
    files = {stem.with_name(f"{stem.name}.{kind}"): results}
    if kind in ("srt", "vtt"):
        stem.mkdir(exist_ok=True)
        files = {stem / f"{name}.{kind}": [(name, hypothesis)] for name, hypothesis in results}
    for path, part in files.items():
        path.write_text("".join(f"{line}\n" for line in WRITERS[kind](part)), encoding="utf-8")


def refinement(decoded: Sequence[Decoded], method: str, tokenizer: Tokenizer) -> list[str]:
    """What every round of a refining search repaired: the score after it and how many positions it changed."""
    rounds = max(len(d.hypotheses[method].rounds) for d in decoded)
    lines = []
    for number in range(rounds):
        done = [(d, d.hypotheses[method].rounds) for d in decoded]
        texts = [(d.id, normalise(d.reference), normalise(tokenizer.decode(r[min(number, len(r) - 1)].ids)))
                 for d, r in done if r]
        changed = [r[number] for _, r in done if number < len(r)]
        result = score(texts)
        lines.append(f"{method} round {number}: WER {100 * result.wer:.2f} % ({result.substitutions} sub, "
                     f"{result.deletions} del, {result.insertions} ins); changed "
                     f"{sum(r.substitutions for r in changed)}, dropped {sum(r.deletions for r in changed)} tokens")
    return lines


def decode(config: DecodeConfig, options: SearchConfig, files: KnowledgeConfig) -> None:
    """Decode, write, print. ValueError on what cannot be decoded."""
    exp_dir = pathlib.Path(config.exp_dir)
    model, _ = load_model(select_checkpoints(exp_dir, config.epoch, config.avg))
    if not config.cuts or not config.lang_dir:
        raise ValueError("--cuts and --lang-dir are required: a manifest of cuts and the folder with bpe.model")
    tokenizer = Tokenizer(config.lang_dir)
    if tokenizer.vocab_size != model.vocab_size:
        raise ValueError(f"{config.lang_dir} has {tokenizer.vocab_size} pieces, the model {model.vocab_size}: it was "
                         "trained with another --lang-dir")
    knowledge = load_knowledge(files, tokenizer)
    methods = choose_methods(config.method, knowledge)
    model.to(pick_device(config.device))
    data = EvaluationData(config.cuts, DataConfig(max_duration=config.max_duration, num_workers=config.num_workers),
                          model.config.num_mel_bins)
    seconds: dict[str, list[float]] = {name: [] for name in ("encoder", *methods)}
    decoded: list[Decoded] = []
    for _ in range(config.repeats):
        watch = Stopwatch(synchronise=True)
        decoded = [d for batch in decode_batches(model, data, methods, options, tokenizer.pieces, watch, knowledge)
                   for d in batch]
        for name in seconds:
            seconds[name].append(watch.seconds[name])
    report(config, methods, decoded, tokenizer, seconds)


def report(config: DecodeConfig, methods: Sequence[str], decoded: Sequence[Decoded], tokenizer: Tokenizer,
           seconds: dict[str, list[float]]) -> None:
    """Write recogs, errs and summary, JSON with every figure, word times where asked for; print the table."""
    out_dir = pathlib.Path(config.out_dir or pathlib.Path(config.exp_dir) / "decode")
    set_name = pathlib.Path(config.cuts).name.split(".")[0].split("cuts_")[-1]
    scores = write_results(out_dir, set_name, {
        method: [(d.id, normalise(d.reference), normalise(d.hypotheses[method].text)) for d in decoded]
        for method in methods})
    for kind in config.write:
        for method in methods:
            write_words(out_dir / f"{set_name}-{method}", kind, [(d.id, d.hypotheses[method]) for d in decoded])
    audio = sum(d.seconds for d in decoded)
    figures = {name: {"wer": s.wer, "cer": s.cer, "interval": s.wer_interval(), "substitutions": s.substitutions,
                      "deletions": s.deletions, "insertions": s.insertions, "encoder_seconds": seconds["encoder"],
                      "search_seconds": seconds[name]} for name, s in scores.items()}
    (out_dir / f"summary-{set_name}.json").write_text(
        json.dumps({"audio_seconds": audio, "utterances": len(decoded), "methods": figures}, indent=1) + "\n")
    print(f"{set_name}: {len(decoded)} utterances, {audio / 60:.1f} minutes; results in {out_dir}")
    print(table(scores, audio, seconds))
    for method in methods:
        if any(d.hypotheses[method].rounds for d in decoded):
            print("\n".join(refinement(decoded, method, tokenizer)))
    notes = Counter((method, d.hypotheses[method].note) for d in decoded for method in methods)
    for (method, note), count in sorted(notes.items()):
        if note:
            print(f"{method}: {count} of {len(decoded)} utterances: {note}")


def main(argv: Optional[Sequence[str]] = None) -> None:
    config, options, files = parse(argv, "Decode cuts with a trained HAINAN model.", DecodeConfig, SearchConfig,
                                   KnowledgeConfig)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        decode(config, options, files)
    except ValueError as error:
        fail(str(error))


if __name__ == "__main__":
    main()
