"""Trained models to other formats: `python hainan_k2/export.py --exp-dir EXP --avg 5 --format onnx --out-dir DIR`.

The model is a model directory (--model), or the mean over `--avg` epochs of an experiment: the last ones; with --best
those with the lowest dev WER; with --use-averaged-model the mean over all updates of the last epochs, from the running
average that training keeps. Heads that only training uses are left out.

--format model writes a model directory, nemo the archive model.nemo, onnx a folder that sherpa-onnx and onnx-asr read.
Models on NeMo's features run in onnx-asr, and in sherpa-onnx on an approximation of them; models on sherpa-onnx's
features (train.py --features sherpa-onnx) run in sherpa-onnx alone: --runtime sherpa-onnx.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Optional

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from hainan_k2.cli import fail, parse, start_logging
from hainan_k2.config import option
from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.formats.epochs import mean_between_epochs, mean_of_epochs
from hainan_k2.formats.model_dir import (
    NOTHING,
    find_model,
    read_decoding,
    read_model,
    read_own_lm,
    write_model,
    write_provenance,
)
from hainan_k2.formats.nemo_writer import write_nemo
from hainan_k2.formats.onnx_runtimes import RUNTIMES
from hainan_k2.formats.onnx_writer import ENDINGS, write_onnx
from hainan_k2.formats.precision import PRECISIONS
from hainan_k2.formats.whisper_weights import interpolate_whisper
from hainan_k2.fsa.language.lm_file import Lm, read_lm
from hainan_k2.inference.engine import decode_batches
from hainan_k2.inference.onnx_check import print_comparison
from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS
from hainan_k2.model.hainan import Hainan
from hainan_k2.model.whisper import WhisperConformer
from hainan_k2.scoring.wer import score
from hainan_k2.search import METHODS, SearchConfig, check_methods
from hainan_k2.search.resources import NO_LM
from hainan_k2.search.settings import Decoding
from hainan_k2.search.sweep import make_rows
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.text.tokenizer import Tokenizer

FORMATS = ("model", "onnx", "nemo")


@dataclass(frozen=True)
class ExportConfig:
    model: str = option("", "model directory, or released for the one in the package; default: checkpoints of exp_dir")
    exp_dir: str = option("exp", "experiment folder of train.py")
    epoch: Optional[int] = option(None, "last of the epochs to average; none: the newest", at_least=1)
    avg: int = option(1, "how many epochs to average", at_least=1)
    best: bool = option(False, "average the epochs with the lowest dev WER up to `epoch`, not the last ones")
    use_averaged_model: bool = option(False, "average all updates of these epochs, not the weights at their ends")
    lang_dir: str = option("", "folder with bpe.model; default: that of training")
    whisper_weights: str = option(
        "", "file of the Whisper encoder that was fine-tuned; the exported encoder is a mean of both"
    )
    whisper_share: float = option(0.5, "weight of `whisper_weights` in this mean", at_least=0, at_most=1)
    format: str = option("model", "what to write", FORMATS)
    out_dir: str = option("", "the folder to write")
    precision: str = option("float16", "format model: of matrices and kernels", PRECISIONS)
    ctc: bool = option(False, "format model: keep the CTC head")
    lm: str = option(
        "",
        "format model: language model to put into the directory, over its tokens: of hainan-prune-lm, or ARPA; "
        "default: that of --model; none: none",
    )
    default_method: tuple[str, ...] = option(
        (),
        "format model: what transcribe.py decodes by if no method is named, the first that can run; comma between; "
        "default: those of --model",
    )
    compare: str = option("", "format model: lhotse cuts; WER on them before and after, printed and stored")
    method: tuple[str, ...] = option(("ar-greedy", "nar-greedy"), "methods to compare with, comma between")
    runtime: tuple[str, ...] = option(
        RUNTIMES,
        "format onnx: runtimes that must be able to run it, comma between; none: graphs of any model for programs of "
        "your own",
        (*RUNTIMES, "none"),
    )
    check: str = option("", "format onnx: recording on which onnxruntime and PyTorch are compared token by token")

    def __post_init__(self) -> None:
        if not self.out_dir:
            raise ValueError("--out-dir is required: the folder to write")
        if self.best and self.use_averaged_model:
            raise ValueError(
                "--best picks single epochs, --use-averaged-model averages all updates of consecutive "
                "ones: give one of them"
            )
        if self.model and (self.epoch or self.avg > 1 or self.best or self.use_averaged_model or self.lang_dir):
            raise ValueError("--model is a model as it is: --epoch, --avg and the like choose among checkpoints")
        known = [name for name, method in METHODS.items() if not method.oracle]
        unknown = [name for name in self.default_method if name not in known]
        if unknown:
            raise ValueError(f"--default-method {unknown[0]}: there are {', '.join(known)}")
        if "none" in self.runtime and self.runtime != ("none",) or not self.runtime:
            raise ValueError(f"--runtime {','.join(self.runtime)}: give runtimes, or none alone")
        defaults = {f.name: f.default for f in fields(self)}
        for owner, names in OPTIONS_OF_FORMAT.items():
            given = [name for name in names if getattr(self, name) != defaults[name]]
            if given and self.format != owner:
                raise ValueError(f"--{given[0]} is an option of --format {owner}, not of {self.format}")


OPTIONS_OF_FORMAT = {"model": ("precision", "ctc", "lm", "default_method", "compare"), "onnx": ("runtime", "check")}


@dataclass(frozen=True)
class Source:
    """A model to export, in evaluation mode, with its tokenizer, its provenance, a description of its weights, what
    searches do by default, and its language model."""

    model: Hainan
    tokenizer: Tokenizer
    provenance: dict[str, Any]
    description: str
    decoding: Decoding = NOTHING
    lm: Optional[Lm] = None


def source_of(config: ExportConfig) -> Source:
    """The model that the options choose; ValueError where it is missing, or of another tokenizer or encoder."""
    source = trained(config)
    if not config.whisper_weights:
        return source
    path, encoder = pathlib.Path(config.whisper_weights), source.model.encoder
    if not isinstance(encoder, WhisperConformer):
        raise ValueError(f"--whisper-weights {path}: the encoder of {source.description} is not Whisper's")
    interpolate_whisper(encoder.whisper, path, config.whisper_share)
    mixed = {"whisper_weights": path.name, "whisper_share": config.whisper_share}
    description = f"{source.description}, its encoder with a share of {config.whisper_share:g} of {path.name}"
    return replace(source, provenance={**source.provenance, **mixed}, description=description)


def trained(config: ExportConfig) -> Source:
    """The model as it was trained."""
    if config.model:
        folder = find_model(config.model)
        model, tokenizer, provenance = read_model(folder)
        own_lm = read_own_lm(folder, tokenizer)
        return Source(model, tokenizer, provenance, str(config.model), read_decoding(folder), own_lm)
    exp_dir = pathlib.Path(config.exp_dir)
    if config.use_averaged_model:
        model, last, averaged = mean_between_epochs(exp_dir, config.epoch, config.avg)
    else:
        model, last, averaged = mean_of_epochs(exp_dir, config.epoch, config.avg, config.best)
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
    }
    return Source(model.eval(), tokenizer, provenance, averaged, read_decoding(exp_dir))


def word_error_rates(model: Hainan, tokenizer: Tokenizer, cuts: str, methods: Sequence[str]) -> dict[str, float]:
    """WER in percent of every method."""
    data = EvaluationData(cuts, DataConfig(num_workers=0), model.config, longest=DEFAULT_WINDOWS.seconds)
    rows, watch = make_rows(methods), Stopwatch()
    batches = decode_batches(model, data, rows, tokenizer.pieces, watch, normalise=tokenizer.scoring)
    decoded = [utterance for batch in batches for utterance in batch]
    return {name: round(100 * score(utterance.texts(name) for utterance in decoded).wer, 2) for name in methods}


def export(config: ExportConfig) -> None:
    """Write the format and print its size; with `compare` word error rates, with `check` differences.

    Raises ValueError for what cannot be exported, OSError where it cannot be written, SystemExit(1) where `check` finds
    other tokens in float32.
    """
    check_methods(config.method)
    source, out_dir = source_of(config), pathlib.Path(config.out_dir)
    if config.format == "onnx":
        export_onnx(source, out_dir, [name for name in config.runtime if name != "none"], config.check)
    elif config.format == "nemo":
        path = out_dir / "model.nemo"
        write_nemo(path, source.model, source.tokenizer)
        print(f"{path}: {source.description}, {megabytes([path])}")
    else:
        export_model(source, out_dir, config)


def export_model(source: Source, out_dir: pathlib.Path, config: ExportConfig) -> None:
    """Write a model directory and print its size and, with `compare`, the word error rates before and after."""
    provenance = {**source.provenance, "precision": config.precision}
    lm = source.lm
    if config.lm:
        lm = None if config.lm == NO_LM else read_lm(config.lm, source.tokenizer.pieces, source.tokenizer.encode)
        provenance["lm"] = pathlib.Path(config.lm).name
    decoding = source.decoding
    if config.default_method:
        decoding = replace(decoding, methods=config.default_method)
    write_model(out_dir, source.model, source.tokenizer, config.precision, provenance, config.ctc, decoding, lm)
    print(f"{out_dir}: {source.description}, {config.precision}, {megabytes(out_dir.iterdir())}")
    exported, tokenizer, provenance = read_model(out_dir)
    if config.compare:
        before = word_error_rates(source.model, tokenizer, config.compare, config.method)
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


def export_onnx(source: Source, out_dir: pathlib.Path, runtimes: Sequence[str], audio: str) -> None:
    """Write an ONNX folder and print the size of each graph and, with `audio`, the comparison with PyTorch."""
    names = write_onnx(out_dir, source.model, source.tokenizer, runtimes, SearchConfig().max_symbols)
    print(f"{out_dir}: {source.description}, for {' and '.join(runtimes) or 'programs of your own'}")
    print(f"{'graph':20s}" + "".join(f"{precision:>12s}" for precision in ENDINGS))
    for name in names:
        sizes = (megabytes([out_dir / f"{name}.{ending}"]) for ending in ENDINGS.values())
        print(f"{name:20s}" + "".join(f"{size:>12s}" for size in sizes))
    if audio and not print_comparison(source.model, out_dir, audio):
        raise SystemExit(1)


def megabytes(paths: Iterable[pathlib.Path]) -> str:
    """The size of the files among `paths`, each with its data file."""
    every = {part for path in paths for part in (path, path.with_name(path.name + ".data")) if part.is_file()}
    return f"{sum(path.stat().st_size for path in every) / 1e6:.1f} MB"


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Write a trained HAINAN model in another format.", ExportConfig)
    start_logging()
    try:
        export(config)
    except (ValueError, OSError) as error:
        fail(str(error))


if __name__ == "__main__":
    main()
