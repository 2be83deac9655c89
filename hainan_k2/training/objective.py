"""What training minimises: the (pruned) TDT loss under stochastic predictor masking, with an auxiliary CTC loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hainan_k2 import fsa
from hainan_k2.config import BLANK, option
from hainan_k2.model.hainan import Hainan
from hainan_k2.model.joiner import mask_predictor
from hainan_k2.stopwatch import Stopwatch


@dataclass(frozen=True)
class LossConfig:
    loss: str = option("pruned", "transducer loss", ("pruned", "full"))
    backend: str = option("auto", "where lattices are summed", ("auto", "k2", "torch"))
    prune_band: int = option(5, "S: label positions per frame that the pruned loss keeps", at_least=1)
    simple_scale: float = option(
        0.5, "weight of the simple (additive joint) loss once warmed up; 1 at the start", at_least=0
    )
    prune_warmup: int = option(500, "updates over which the pruned loss grows from weight 0.1 to 1", at_least=0)
    mask_prob: float = option(
        0.5, "probability that the predictor is masked, per utterance and label position", at_least=0, at_most=1
    )
    sigma: float = option(0.05, "logit under-normalisation: subtracted from token log-probabilities", at_least=0)
    omega: float = option(0.0, "probability per batch of the plain RNN-T loss in place of TDT", at_least=0, at_most=1)
    fastemit: float = option(0.0, "FastEmit lambda", at_least=0)
    clamp: float = option(0.0, "clamp of the loss's gradients with respect to logits; 0 = none", at_least=0)
    ctc_scale: float = option(0.3, "weight of the auxiliary CTC loss; 0 = none", at_least=0)


@dataclass(frozen=True)
class Losses:
    """`total` (scalar, to be minimised) is per label; `parts` are sums over the batch, in nats."""

    total: Tensor
    parts: dict[str, Tensor]
    labels: int
    unspelled: list[int]  # utterances that a loss has no path for: they add nothing to it

    @property
    def finite(self) -> bool:
        return bool(torch.isfinite(self.total))

    def per_label(self) -> dict[str, float]:
        return {name: float(value) / max(1, self.labels) for name, value in self.parts.items()}


def warmup_scales(config: LossConfig, updates: int) -> tuple[float, float]:
    """Weights of the simple and of the pruned loss: bands are worth little before the simple joint has learnt."""
    done = min(1.0, updates / max(1, config.prune_warmup))
    return 1.0 - done * (1.0 - config.simple_scale), 0.1 + 0.9 * done


def transducer_losses(
    model: Hainan,
    encoder_out: Tensor,
    lens: Tensor,
    targets: Tensor,
    target_lens: Tensor,
    config: LossConfig,
    watch: Stopwatch,
) -> dict[str, Tensor]:
    """Per-utterance losses (B,): {'tdt': full} or {'simple': ..., 'tdt': pruned}; inf where no path spells the labels.

    encoder_out (B, T, C), lens (B,), targets (B, U) padded with anything but blank, target_lens (B,). The predictor is
    masked, and omega and sigma apply, in training mode only. `watch` adds up "predictor + joint", "simple loss" and
    "transducer loss", forward passes all.
    """
    durations = model.durations
    sigma = config.sigma if model.training else 0.0
    options = dict(reduction="none", backend=config.backend, fastemit_lambda=config.fastemit, clamp=config.clamp)
    rnnt = model.training and config.omega > 0 and float(torch.rand(())) < config.omega
    with watch.section("predictor + joint"):
        predicted = model.predictor(targets)
        enc_proj = model.joiner.project_encoder(encoder_out)
        pred_proj = model.joiner.project_predictor(predicted)
        if model.training:
            pred_proj = mask_predictor(pred_proj, config.mask_prob)
    if config.loss == "full":
        with watch.section("predictor + joint"):
            logits = model.joiner.logits(enc_proj[:, :, None], pred_proj[:, None])
        loss = fsa.rnnt_loss if rnnt else fsa.tdt_loss
        with watch.section("transducer loss"):
            return {"tdt": loss(logits, targets, lens, target_lens, durations, sigma=sigma, **options)}
    with watch.section("simple loss"):
        simple, occupancy = fsa.tdt_loss_simple(
            model.simple_am(encoder_out),
            model.simple_lm(predicted),
            targets,
            lens,
            target_lens,
            durations,
            reduction="none",
            backend=config.backend,
        )
        bounds = fsa.tdt_prune_bounds(occupancy, lens, target_lens, durations, config.prune_band)
    with watch.section("predictor + joint"):
        logits = model.joiner.logits(enc_proj[:, :, None], fsa.tdt_prune(pred_proj, bounds, config.prune_band))
    with watch.section("transducer loss"):
        if rnnt:
            pruned = fsa.rnnt_loss(logits, targets, lens, target_lens, durations, bounds=bounds, sigma=sigma, **options)
        else:
            pruned = fsa.tdt_loss_pruned(logits, targets, bounds, lens, target_lens, durations, sigma=sigma, **options)
    return {"simple": simple, "tdt": pruned}


def ctc_losses(model: Hainan, encoder_out: Tensor, lens: Tensor, targets: Tensor, target_lens: Tensor) -> Tensor:
    """Per-utterance CTC losses (B,); inf, without a gradient, where the frames are too few for the labels."""
    log_probs = model.ctc_log_probs(encoder_out).transpose(0, 1).float()
    losses = torch.nn.functional.ctc_loss(
        log_probs, targets, lens, target_lens, blank=BLANK, reduction="none", zero_infinity=True
    )
    inside = torch.arange(1, targets.shape[1], device=lens.device) < target_lens[:, None]
    repeats = ((targets[:, 1:] == targets[:, :-1]) & inside).sum(1)  # a blank must stand between equal labels
    return losses.masked_fill(lens < target_lens + repeats, float("inf"))


def hainan_losses(
    model: Hainan,
    features: Tensor,
    lens: Tensor,
    targets: Tensor,
    target_lens: Tensor,
    config: LossConfig,
    updates: int,
    watch: Stopwatch,
) -> Losses:
    """Losses of a batch: features (B, T, F), lens (B,), targets (B, U), target_lens (B,), after `updates` updates."""
    with watch.section("encoder"):
        encoder_out, lens = model.encoder(features, lens)
    parts = transducer_losses(model, encoder_out, lens, targets, target_lens, config, watch)
    if model.ctc is not None and config.ctc_scale > 0:
        with watch.section("CTC loss"):
            parts["ctc"] = ctc_losses(model, encoder_out, lens, targets, target_lens)
    # inf says that no path spells the labels (counted, adds nothing); NaN is an error and must stay visible
    impossible = {name: value == float("inf") for name, value in parts.items()}
    sums = {name: value.masked_fill(impossible[name], 0.0).sum() for name, value in parts.items()}
    simple, tdt = warmup_scales(config, updates) if "simple" in sums else (0.0, 1.0)
    weights = {"simple": simple, "tdt": tdt, "ctc": config.ctc_scale}
    labels = int(target_lens.sum())
    total = sum(weights[name] * value for name, value in sums.items()) / max(1, labels)
    return Losses(
        total,
        {k: v.detach() for k, v in sums.items()},
        labels,
        torch.stack(list(impossible.values())).any(0).nonzero()[:, 0].tolist(),
    )
