"""Which imported models training starts from, and checkpoints of versions with fewer options."""

from pathlib import Path

import pytest

from hainan_k2.config import ModelConfig, as_dict
from hainan_k2.model.hainan import Hainan
from hainan_k2.training.initial import Initial, choose_dimensions
from hainan_k2.training.objective import LossConfig
from hainan_k2.training.optim import OptimConfig
from hainan_k2.training.ranks import Ranks
from hainan_k2.training.trainer import LoopConfig, Trainer

TDT = ModelConfig.preset("tiny", vocab_size=12, predictor_masking=False, ctc=False)

NEMO = ModelConfig.preset("tiny", vocab_size=12, features="nemo")


def initial(config):
    return Initial("imported", config, {}, *[None] * (len(Initial._fields) - 3))


def test_training_masks_the_predictor_of_an_imported_tdt():
    config = choose_dimensions(None, {"predictor_masking": True}, 12, initial(TDT))
    assert config.predictor_masking and config.ctc and config.d_model == TDT.d_model


def test_training_takes_other_features_only_if_they_are_named():
    assert choose_dimensions(None, {"features": "sherpa-onnx"}, 12, initial(NEMO)).features == "sherpa-onnx"
    assert choose_dimensions(None, {}, 12, initial(NEMO)).features == "nemo"
    with pytest.raises(ValueError, match="was trained with another features"):
        choose_dimensions("tiny", {}, 12, initial(NEMO))
    with pytest.raises(ValueError, match="features is log-mel: a fastconformer encoder takes"):
        choose_dimensions(None, {"features": "log-mel"}, 12, initial(NEMO))
    with pytest.raises(ValueError, match="was trained with another num_mel_bins"):
        choose_dimensions(None, {"features": "sherpa-onnx", "num_mel_bins": 40}, 12, initial(NEMO))


@pytest.mark.parametrize("objective", ["rnnt", "ctc"])
def test_other_objectives(objective):
    """They need no --durations; a model of another objective does not start them."""
    other = ModelConfig.preset("tiny", vocab_size=12, objective=objective, durations=(0,))
    assert choose_dimensions("tiny", {"objective": objective}, 12, None) == other
    assert choose_dimensions(None, {}, 12, initial(other)) == other
    with pytest.raises(ValueError, match="imported was trained with another objective, durations"):
        choose_dimensions(None, {"objective": objective}, 12, initial(TDT))
    with pytest.raises(ValueError, match="durations is 0"):
        choose_dimensions("tiny", {"objective": objective, "durations": (0, 1)}, 12, None)


def test_checkpoints_of_versions_with_fewer_options(tmp_path):
    model = Hainan(ModelConfig.preset("tiny", vocab_size=12, predictor_masking=False))
    trainer = Trainer(model, Ranks(), tmp_path, LoopConfig(), LossConfig(), OptimConfig(), 1, {})
    older = as_dict(model.config)
    for name in ("objective", "predictor_masking", "attention_context", "joiner_activation", "features"):
        del older[name]
    for config, message in (
        (older, "is not a checkpoint of this training: 'model'"),  # so its options fit
        ({**older, "objective": "rnnt"}, "was trained with another objective:"),
        ({**older, "colour": 1}, "was trained with another colour:"),
    ):
        with pytest.raises(ValueError, match=message):
            trainer.load({"model_config": config}, Path("last"))
