"""AdamW with warm-up and cosine decay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional

import torch
from torch import nn

from hainan_k2.config import option


@dataclass(frozen=True)
class OptimConfig:
    lr: float = option(1e-3, "peak learning rate", above=0)
    encoder_lr: float = option(1e-4, "peak learning rate of a pretrained encoder; 0 freezes it", at_least=0)
    lr_final: float = option(0.01, "learning rate at the end of training, over the peak", at_least=0, at_most=1)
    warmup_updates: int = option(500, "updates of linear warm-up", at_least=0)
    weight_decay: float = option(1e-2, "AdamW's weight decay; biases, norms and embeddings are exempt", at_least=0)
    clip_norm: float = option(5.0, "gradients are scaled down to this L2 norm", above=0)


def make_optimizer(model: nn.Module, config: OptimConfig, pretrained: Optional[nn.Module] = None) -> torch.optim.AdamW:
    """Weight decay on matrices and kernels only: shrinking a norm, a bias or a rare embedding serves nothing.

    The parameters of `pretrained`, a part of `model`, learn at `encoder_lr`, or are frozen.
    """
    exempt = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    tuned = {id(p) for p in pretrained.parameters()} if pretrained is not None else set()
    if pretrained is not None and config.encoder_lr == 0:
        pretrained.requires_grad_(False)
    groups = []
    for slow in (False, True):
        part = [p for p in model.parameters() if p.requires_grad and (id(p) in tuned) == slow]
        peak = config.encoder_lr if slow else config.lr
        decayed = [p for p in part if p.ndim > 1 and id(p) not in exempt]
        others = [p for p in part if p.ndim <= 1 or id(p) in exempt]
        groups += (
            [
                {"params": decayed, "weight_decay": config.weight_decay, "peak": peak},
                {"params": others, "weight_decay": 0.0, "peak": peak},
            ]
            if part
            else []
        )
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98))


def learning_rate(config: OptimConfig, updates: int, progress: float) -> float:
    """As a fraction of the peak, after `updates` updates and `progress` (a fraction) of all audio that is to be heard.

    The decay follows the audio heard, not a count of updates: how many batches an epoch has is only known once its
    bucketing is done.
    """
    warm = min(1.0, (updates + 1) / max(1, config.warmup_updates))
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return warm * (config.lr_final + (1.0 - config.lr_final) * cosine)


def set_learning_rate(optimizer: torch.optim.Optimizer, fraction: float) -> None:
    """Every group to that fraction of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = fraction * group["peak"]
