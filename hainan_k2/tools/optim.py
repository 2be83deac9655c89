"""AdamW with warm-up and cosine decay."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from hainan_k2.config import option


@dataclass(frozen=True)
class OptimConfig:
    lr: float = option(1e-3, "peak learning rate")
    lr_final: float = option(0.01, "learning rate at the end of training, over the peak")
    warmup_updates: int = option(500, "updates of linear warm-up")
    weight_decay: float = option(1e-2, "AdamW's weight decay; biases, norms and embeddings are exempt")
    clip_norm: float = option(5.0, "gradients are scaled down to this L2 norm")


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """Weight decay on matrices and kernels only: shrinking a norm, a bias or a rare embedding serves nothing."""
    exempt = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    decayed = [p for p in model.parameters() if p.ndim > 1 and id(p) not in exempt]
    others = [p for p in model.parameters() if p.ndim <= 1 or id(p) in exempt]
    return torch.optim.AdamW([{"params": decayed, "weight_decay": config.weight_decay},
                              {"params": others, "weight_decay": 0.0}], lr=config.lr, betas=(0.9, 0.98))


def learning_rate(config: OptimConfig, updates: int, progress: float) -> float:
    """After `updates` updates and a fraction `progress` of all audio that training is to hear.

    The decay follows the audio heard, not a count of updates: how many batches an epoch has is only known once its
    bucketing is done.
    """
    warm = min(1.0, (updates + 1) / max(1, config.warmup_updates))
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return config.lr * warm * (config.lr_final + (1.0 - config.lr_final) * cosine)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
