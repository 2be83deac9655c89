"""The optimizer's parameter groups, and the learning rate."""

import pytest
import torch

from hainan_k2.config import ModelConfig
from hainan_k2.model.hainan import Hainan
from hainan_k2.training.optim import OptimConfig, learning_rate, make_optimizer, set_learning_rate


@pytest.fixture
def model():
    return Hainan(
        ModelConfig(
            encoder="whisper",
            whisper_dim=16,
            whisper_layers=1,
            whisper_heads=2,
            d_model=16,
            num_layers=1,
            num_heads=2,
            predictor_dim=8,
            joiner_dim=8,
            vocab_size=10,
        )
    )


def names(model, parameters):
    every = {id(p): name for name, p in model.named_parameters()}
    return {every[id(p)] for p in parameters}


def test_a_pretrained_encoder_learns_at_its_own_rate(model):
    optimizer = make_optimizer(model, OptimConfig(lr=1e-3, encoder_lr=1e-4), model.pretrained)
    set_learning_rate(optimizer, 0.5)
    rates = {name: group["lr"] for group in optimizer.param_groups for name in names(model, group["params"])}
    assert set(rates) == {name for name, _ in model.named_parameters()}
    for name, rate in rates.items():
        assert rate == pytest.approx(0.5e-4 if name.startswith("encoder.whisper.") else 0.5e-3)


def test_a_frozen_encoder_is_not_optimised(model):
    optimizer = make_optimizer(model, OptimConfig(encoder_lr=0.0), model.pretrained)
    optimised = {name for group in optimizer.param_groups for name in names(model, group["params"])}
    assert optimised == {name for name, _ in model.named_parameters() if not name.startswith("encoder.whisper.")}
    assert not any(p.requires_grad for p in model.pretrained.parameters())


def test_only_matrices_decay(model):
    optimizer = make_optimizer(model, OptimConfig(weight_decay=0.1), model.pretrained)
    decayed = {name for g in optimizer.param_groups if g["weight_decay"] for name in names(model, g["params"])}
    assert "encoder.whisper.layers.0.linear1.weight" in decayed and "joiner.out.weight" in decayed
    assert not any(name.endswith("bias") or "norm" in name or "embedding" in name for name in decayed)


def test_the_rate_rises_and_falls():
    config = OptimConfig(warmup_updates=10, lr_final=0.1)
    assert learning_rate(config, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(config, 9, 0.0) == pytest.approx(1.0)
    assert learning_rate(config, 100, 0.5) == pytest.approx(0.55)
    assert learning_rate(config, 100, 1.0) == learning_rate(config, 100, 1.2) == pytest.approx(0.1)


def test_without_a_pretrained_part_there_is_one_rate():
    layer = torch.nn.Linear(3, 4)
    optimizer = make_optimizer(layer, OptimConfig(lr=1e-3))
    assert [group["peak"] for group in optimizer.param_groups] == [1e-3, 1e-3]
