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
    """Options of the optimizer."""

    help_title = "optimizer options"

    lr: float = option(1e-3, "peak learning rate", above=0)
    encoder_lr: float = option(1e-4, "peak learning rate of a pretrained encoder; 0 freezes it", at_least=0)
    lr_final: float = option(
        0.01, "learning rate at the end of training, as a fraction of the peak", at_least=0, at_most=1
    )
    warmup_updates: int = option(500, "updates of linear warm-up", at_least=0)
    weight_decay: float = option(1e-2, "weight decay of AdamW; not for biases, norms and embeddings", at_least=0)
    clip_norm: float = option(5.0, "maximum L2 norm of the gradient; longer ones are scaled down", above=0)


def make_optimizer(model: nn.Module, config: OptimConfig, pretrained: Optional[nn.Module] = None) -> torch.optim.AdamW:
    """AdamW for `model`, with the peak learning rate of each parameter group in its entry "peak".

    Weight decay applies to matrices and convolution kernels only, not to norms, biases and embeddings. The parameters
    of `pretrained`, a part of `model`, learn at `config.encoder_lr`; 0 freezes them.
    """
    exempt = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    pretrained_ids = {id(p) for p in pretrained.parameters()} if pretrained is not None else set()
    if pretrained is not None and config.encoder_lr == 0:
        pretrained.requires_grad_(False)
    groups = []
    for of_encoder in (False, True):
        part = [p for p in model.parameters() if p.requires_grad and (id(p) in pretrained_ids) == of_encoder]
        peak = config.encoder_lr if of_encoder else config.lr
        decayed = [p for p in part if p.ndim > 1 and id(p) not in exempt]
        others = [p for p in part if p.ndim <= 1 or id(p) in exempt]
        if part:
            groups.append({"params": decayed, "weight_decay": config.weight_decay, "peak": peak})
            groups.append({"params": others, "weight_decay": 0.0, "peak": peak})
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98))


def learning_rate(config: OptimConfig, updates: int, progress: float) -> float:
    """The learning rate as a fraction of its peak: linear warm-up, then a cosine from 1 to `config.lr_final`.

    Args:
      updates: updates done so far; they measure the warm-up.
      progress: fraction of the training's audio that is done. It measures the decay, since the number of batches of an
        epoch is not known before bucketing.

    >>> learning_rate(OptimConfig(warmup_updates=10), updates=4, progress=0.0)
    0.5
    """
    warm = min(1.0, (updates + 1) / max(1, config.warmup_updates))
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return warm * (config.lr_final + (1.0 - config.lr_final) * cosine)


def set_learning_rate(optimizer: torch.optim.Optimizer, fraction: float) -> None:
    """Set the learning rate of every group to a fraction of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = fraction * group["peak"]
