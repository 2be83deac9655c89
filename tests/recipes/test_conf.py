"""All settings of the recipes are options of train.py."""

import pytest

from hainan_k2.cli import parse
from hainan_k2.config import ModelConfig
from hainan_k2.data.config import DataConfig
from hainan_k2.train import TrainConfig
from hainan_k2.training.objective import LossConfig
from hainan_k2.training.optim import OptimConfig
from hainan_k2.training.trainer import LoopConfig
from tests.recipes.shell import ROOT

FILES = sorted((ROOT / "recipes").glob("*/conf/train*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_settings_are_known(path):
    paths = [f"--{name}=x" for name in ("exp-dir", "train-cuts", "dev-cuts", "lang-dir")]
    config, *_, dimensions = parse(
        ["--config", str(path), *paths],
        "",
        TrainConfig,
        DataConfig,
        LoopConfig,
        LossConfig,
        OptimConfig,
        dimensions=ModelConfig,
    )
    ModelConfig.preset(config.preset or "M", **dimensions)


def test_every_corpus_has_settings():
    names = {path.stem for path in FILES if path.parts[-3] == "librispeech"}
    assert {"train_synth", "train_mini", "train_clean-100", "train_full", "train_ci"} <= names
