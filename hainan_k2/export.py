"""Checkpoints to a model directory: `python hainan_k2/export.py --exp-dir EXP --avg 5 --precision int8 --out-dir DIR`.

The exported weights are the mean over `--avg` epochs: the last ones; with --best those with the lowest dev WER; with
--use-averaged-model the mean over all updates of the last epochs, from the running average that training keeps. Heads
that only training uses are left out.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from hainan_k2.cli import fail, parse, start_logging
from hainan_k2.config import option
from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.formats.average import average_between, average_of
from hainan_k2.formats.checkpoint import (
    best_checkpoints,
    epoch_name,
    epoch_of,
    load_checkpoint,
    load_model,
    model_of_state,
    select_checkpoints,
)
from hainan_k2.formats.model_dir import read_model, write_model, write_provenance
from hainan_k2.formats.precision import PRECISIONS
from hainan_k2.formats.weights import model_of_weights
from hainan_k2.inference.engine import decode_batches
from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS
from hainan_k2.model.hainan import Hainan
from hainan_k2.scoring.wer import score
from hainan_k2.search import check_methods
from hainan_k2.search.sweep import make_rows
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ExportConfig:
    exp_dir: str = option("exp", "experiment folder of train.py")
    epoch: Optional[int] = option(None, "last of the epochs to average; none: the newest", at_least=1)
    avg: int = option(1, "how many epochs to average", at_least=1)
    best: bool = option(False, "average the epochs with the lowest dev WER up to `epoch`, not the last ones")
    use_averaged_model: bool = option(False, "average all updates of these epochs, not the weights at their ends")
    lang_dir: str = option("", "folder with bpe.model; default: that of training")
    precision: str = option("float16", "of matrices and kernels", PRECISIONS)
    ctc: bool = option(False, "keep the CTC head")
    out_dir: str = option("", "the model directory")
    compare: str = option("", "lhotse cuts: WER on them before and after, printed and put into provenance.json")
    method: tuple[str, ...] = option(("ar-greedy", "nar-greedy"), "methods to compare with, comma between")

    def __post_init__(self) -> None:
        if not self.out_dir:
            raise ValueError("--out-dir is required: the model directory to make")
        if self.best and self.use_averaged_model:
            raise ValueError(
                "--best picks single epochs, --use-averaged-model averages all updates of consecutive "
                "ones: give one of them"
            )


def choose_weights(config: ExportConfig) -> tuple[Hainan, dict[str, Any], str]:
    """The averaged model, the contents of its last checkpoint, and a description of what was averaged."""
    exp_dir = pathlib.Path(config.exp_dir)
    if config.use_averaged_model:
        return between_epochs(exp_dir, config.epoch, config.avg)
    choose = best_checkpoints if config.best else select_checkpoints
    paths = choose(exp_dir, config.epoch, config.avg)
    model, last = load_model(paths)
    return model, last, ("epochs " if paths[1:] else "epoch ") + ", ".join(str(epoch_of(path)) for path in paths)


def between_epochs(exp_dir: pathlib.Path, epoch: Optional[int], avg: int) -> tuple[Hainan, dict[str, Any], str]:
    """The mean of all samples of the running average in the `avg` epochs that end with `epoch`.

    It is computed from two checkpoints: that of `epoch` and that of the epoch before the first.
    """
    (end_path,) = select_checkpoints(exp_dir, epoch, 1)
    last = epoch_of(end_path)
    if not 1 <= avg <= last:
        raise ValueError(f"--avg {avg} of {last} epochs")
    end = load_checkpoint(end_path)
    start = load_checkpoint(select_checkpoints(exp_dir, last - avg, 1)[0]) if avg < last else None
    config, _ = model_of_state(end, end_path)
    average = average_of(end, end_path)
    weights = average_between(start and average_of(start, exp_dir / epoch_name(last - avg)), average)
    model = model_of_weights(config, weights, end_path, "its own dimensions", training_heads=True)
    every = average["every"]
    sampled = "samples after every update" if every == 1 else f"samples after every {every} updates"
    return model.eval(), end, f"{sampled} of epochs {last - avg + 1} to {last}"


def word_error_rates(model: Hainan, tokenizer: Tokenizer, cuts: str, methods: Sequence[str]) -> dict[str, float]:
    """WER in percent of every method."""
    data = EvaluationData(cuts, DataConfig(num_workers=0), model.config, longest=DEFAULT_WINDOWS.seconds)
    batches = decode_batches(model, data, make_rows(methods), tokenizer.pieces, Stopwatch())
    decoded = [utterance for batch in batches for utterance in batch]
    return {name: round(100 * score(utterance.texts(name) for utterance in decoded).wer, 2) for name in methods}


def export(config: ExportConfig) -> None:
    """Write the model directory, print its size and, with `compare`, the word error rates before and after.

    Raises ValueError for what cannot be exported, OSError where it cannot be written.
    """
    check_methods(config.method)
    model, last, averaged = choose_weights(config)
    provenance = last.get("provenance", {})
    lang_dir = config.lang_dir or provenance.get("options", {}).get("lang_dir", "")
    if not lang_dir:
        raise ValueError("--lang-dir is required: the checkpoint does not name the one it was trained with")
    tokenizer = Tokenizer(lang_dir)
    if tokenizer.vocab_size != model.vocab_size:
        raise ValueError(
            f"{lang_dir} has {tokenizer.vocab_size} pieces, the model {model.vocab_size}: it was trained "
            "with another --lang-dir"
        )
    progress = last.get("progress", {})
    # The folders of the machine that trained mean nothing to others; the names of the files do.
    options = {
        name: pathlib.Path(value).name if isinstance(value, str) and value.startswith("/") else value
        for name, value in provenance.get("options", {}).items()
    }
    provenance = {
        **provenance,
        "options": options,
        "averaged": averaged,
        "updates": progress.get("updates"),
        "hours_heard": round(progress.get("audio_seconds", progress.get("heard", 0.0)) / 3600, 2),
        "precision": config.precision,
    }
    out_dir = pathlib.Path(config.out_dir)
    write_model(out_dir, model, tokenizer, config.precision, provenance, config.ctc)
    size = sum(path.stat().st_size for path in out_dir.iterdir() if path.is_file())
    print(f"{out_dir}: {averaged}, {config.precision}, {size / 1e6:.1f} MB")
    exported, tokenizer, provenance = read_model(out_dir)
    if config.compare:
        before = word_error_rates(model, tokenizer, config.compare, config.method)
        after = word_error_rates(exported, tokenizer, config.compare, config.method)
        print(f"{'method':12s} {'float32':>8s} {config.precision:>8s}   WER % on {config.compare}")
        for name in config.method:
            print(f"{name:12s} {before[name]:8.2f} {after[name]:8.2f}")
        write_provenance(
            out_dir,
            {
                **provenance,
                "wer": {"cuts": pathlib.Path(config.compare).name, "percent": after, "percent_as_float32": before},
            },
        )


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Make a model directory of a trained HAINAN model.", ExportConfig)
    start_logging()
    try:
        export(config)
    except (ValueError, OSError) as error:
        fail(str(error))


if __name__ == "__main__":
    main()
