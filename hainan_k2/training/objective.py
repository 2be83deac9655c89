"""The training objective: the full or pruned TDT or RNN-T loss with a randomly masked predictor, and a CTC loss.

The CTC loss is auxiliary, or the only one for a model of objective ctc.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hainan_k2 import fsa
from hainan_k2.config import ModelConfig, option
from hainan_k2.model.hainan import Hainan
from hainan_k2.model.joiner import Joiner, mask_predictor
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.training.ctc_loss import ctc_losses, middle_output


@dataclass(frozen=True)
class LossConfig:
    """Options of the training objective."""

    help_title = "loss options"

    loss: str = option("pruned", "transducer loss", ("pruned", "full"))
    backend: str = option("auto", "what sums over lattices", ("auto", "k2", "torch"))
    prune_band: int = option(5, "S: label positions per frame that the pruned loss keeps", at_least=1)
    simple_scale: float = option(
        0.5, "weight of the simple (additive joint) loss after the warm-up; it starts at 1", at_least=0
    )
    prune_warmup: int = option(500, "updates over which the weight of the pruned loss rises from 0.1 to 1", at_least=0)
    mask_prob: float = option(
        0.5,
        "probability that the predictor is masked, for each utterance and label position; 0: a plain TDT or RNN-T",
        at_least=0,
        at_most=1,
    )
    mask_scores: str = option(
        "all",
        "what a masked position predicts without the predictor: tokens and durations, or only one of them, for "
        "experiments; encoder-only decoding needs all",
        ("all", "tokens", "durations"),
    )
    zero_penalty: float = option(
        0.0, "subtracted from the log-probabilities of duration 0 in the TDT loss, nats", at_least=0
    )
    sigma: float = option(0.05, "logit under-normalisation: subtracted from token log-probabilities", at_least=0)
    omega: float = option(
        0.0, "probability, for each batch, of the RNN-T loss in place of the TDT loss", at_least=0, at_most=1
    )
    fastemit: float = option(0.0, "FastEmit lambda", at_least=0)
    clamp: float = option(
        0.0, "gradients of the loss with respect to logits are clamped to +-this; 0 = no clamp", at_least=0
    )
    ctc_scale: float = option(0.3, "weight of the auxiliary CTC loss; 0 = none", at_least=0)
    inter_ctc: float = option(
        0.0,
        "intermediate CTC: share of the weight of CTC that goes to a CTC loss of the encoder's middle layer",
        at_least=0,
        below=1,
    )

    def check_model(self, config: ModelConfig) -> None:
        """Raises ValueError where the options are not those of a loss of such a model."""
        if self.omega > 0 and config.objective != "tdt":
            raise ValueError(f"omega is {self.omega}: it mixes RNN-T into the TDT loss, not into {config.objective}")
        if self.mask_scores != "all" and config.objective != "tdt":
            raise ValueError(
                f"mask_scores is {self.mask_scores}: a model of objective {config.objective} has no durations"
            )
        if self.zero_penalty > 0 and (config.objective != "tdt" or 0 not in config.durations):
            raise ValueError(f"zero_penalty is {self.zero_penalty}: the model has no duration 0 beside others")
        has_ctc = config.objective == "ctc" or config.ctc and self.ctc_scale > 0
        if self.inter_ctc > 0 and not (has_ctc and config.num_layers >= 2):
            raise ValueError(f"inter_ctc is {self.inter_ctc}: it needs a CTC loss and num_layers of at least 2")
        if config.objective == "rnnt" and self.loss == "pruned" and self.prune_band < 2:
            raise ValueError(f"prune_band is {self.prune_band}: bands of the pruned RNN-T loss have at least 2 labels")


@dataclass(frozen=True)
class Losses:
    """Losses of a batch: `total`, a scalar per label to minimise, and its `parts`, sums over the batch in nats."""

    total: Tensor
    parts: dict[str, Tensor]
    labels: int
    unalignable: list[int]  # utterances, by index, that have no path in a loss: they add nothing to it

    @property
    def finite(self) -> bool:
        return bool(torch.isfinite(self.total))

    def per_label(self) -> dict[str, float]:
        return {name: float(value) / max(1, self.labels) for name, value in self.parts.items()}


def warmup_scales(config: LossConfig, updates: int) -> tuple[float, float]:
    """Weights of the simple and of the pruned loss after `updates` updates, as in icefall.

    The simple joint must learn before the bands that it chooses are any good, so the pruned loss starts at weight 0.1.
    """
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
    """TDT or RNN-T losses of each utterance, in nats.

    In training mode the predictor is masked at random (arXiv 2410.02597, section 3), and omega, sigma and zero_penalty
    apply.

    Args:
      encoder_out, lens: (B, T, C) and (B,), in encoder frames.
      targets, target_lens: (B, U), padded with any token but blank, and (B,).
      watch: gets the seconds of the forward passes as "predictor + joint", "simple loss" and "transducer loss".

    Returns:
      {"tdt": (B,)} for the full loss, {"simple": (B,), "tdt": (B,)} for the pruned one, with the model's objective as
      the name; inf for an utterance whose labels have no path through its frames.
    """
    objective = model.config.objective
    durations = model.durations if objective == "tdt" else ()
    options: dict[str, Any] = {
        "reduction": "none",
        "backend": config.backend,
        "fastemit_lambda": config.fastemit,
        "clamp": config.clamp,
        "sigma": config.sigma if model.training else 0.0,
        "zero_penalty": config.zero_penalty if model.training else 0.0,
    }
    rnnt = objective == "rnnt" or model.training and config.omega > 0 and float(torch.rand(())) < config.omega
    with watch.section("predictor + joint"):
        predicted = model.predictor(targets)
        enc_proj = model.joiner.project_encoder(encoder_out)
        pred_proj = model.joiner.project_predictor(predicted)
        predictions = [pred_proj]
        if model.training:
            masked = mask_predictor(pred_proj, config.mask_prob)
            predictions = [masked] if config.mask_scores == "all" else [masked, pred_proj]
    if config.loss == "full":
        with watch.section("predictor + joint"):
            logits = joint_outputs(model.joiner, enc_proj[:, :, None], [p[:, None] for p in predictions], config)
        loss = fsa.rnnt_loss if rnnt else fsa.tdt_loss
        with watch.section("transducer loss"):
            return {objective: loss(logits, targets, lens, target_lens, durations, **options)}
    with watch.section("simple loss"):
        additive = model.simple_am(encoder_out), model.simple_lm(predicted), targets, lens, target_lens
        if objective == "rnnt":
            simple, occupancy = fsa.rnnt_loss_simple(*additive, reduction="none", backend=config.backend)
            bounds = fsa.rnnt_prune_bounds(occupancy, lens, target_lens, config.prune_band)
        else:
            simple, occupancy = fsa.tdt_loss_simple(*additive, durations, reduction="none", backend=config.backend)
            bounds = fsa.tdt_prune_bounds(occupancy, lens, target_lens, durations, config.prune_band)
    with watch.section("predictor + joint"):
        predictions = [fsa.tdt_prune(p, bounds, config.prune_band) for p in predictions]
        logits = joint_outputs(model.joiner, enc_proj[:, :, None], predictions, config)
    with watch.section("transducer loss"):
        if rnnt:
            pruned = fsa.rnnt_loss(logits, targets, lens, target_lens, durations, bounds=bounds, **options)
        else:
            pruned = fsa.tdt_loss_pruned(logits, targets, bounds, lens, target_lens, durations, **options)
    return {"simple": simple, objective: pruned}


def joint_outputs(joiner: Joiner, enc_proj: Tensor, predictions: Sequence[Tensor], config: LossConfig) -> Tensor:
    """Outputs (..., V + D) of the joint.

    Args:
      enc_proj: (..., J) projected frames.
      predictions: projected predictions (..., J): one, or two, masked and not, of which the masked one gives the part
        of the outputs that config.mask_scores names, the other the rest.
    """
    outputs = [joiner.outputs(enc_proj, p) for p in predictions]
    if len(outputs) == 1:
        return outputs[0]
    tokens, durations = outputs if config.mask_scores == "tokens" else reversed(outputs)
    return torch.cat([tokens[..., : joiner.vocab_size], durations[..., joiner.vocab_size :]], -1)


def hainan_losses(
    model: Hainan,
    features: Tensor,
    lens: Tensor,
    targets: Tensor,
    target_lens: Tensor,
    config: LossConfig,
    updates: int,
    watch: Stopwatch,
    encoded: bool = False,
) -> Losses:
    """The objective of a batch.

    Args:
      features, lens: (B, T, F) and (B,), in feature frames.
      targets, target_lens: (B, U), padded with any token but blank, and (B,).
      updates: updates done so far, for the warm-up of the pruned loss.
      watch: gets the seconds of each part.
      encoded: `features` (B, T, C) are encoder output already, `lens` encoder frames; without intermediate CTC.
    """
    encoder_out = features
    with middle_output(model, config.inter_ctc > 0) as middle:
        if not encoded:
            with watch.section("encoder"):
                encoder_out, lens = model.encoder(features, lens)
    objective = model.config.objective
    parts: dict[str, Tensor] = {}
    if objective != "ctc":
        parts = transducer_losses(model, encoder_out, lens, targets, target_lens, config, watch)
    if objective == "ctc" or model.ctc is not None and config.ctc_scale > 0:
        with watch.section("CTC loss"):
            parts["ctc"] = ctc_losses(model, encoder_out, lens, targets, target_lens)
            if middle:
                parts["inter_ctc"] = ctc_losses(model, middle[0], lens, targets, target_lens)
    # inf means that the labels have no path: the utterance is counted and adds nothing. NaN is an error and remains.
    impossible = {name: value == float("inf") for name, value in parts.items()}
    sums = {name: value.masked_fill(impossible[name], 0.0).sum() for name, value in parts.items()}
    simple, own = warmup_scales(config, updates) if "simple" in sums else (0.0, 1.0)
    weights = {"simple": simple, "ctc": config.ctc_scale, objective: own}
    if middle:  # arXiv 2102.03216: (1 - w) CTC + w intermediate CTC
        weights["inter_ctc"] = config.inter_ctc * weights["ctc"]
        weights["ctc"] *= 1 - config.inter_ctc
    labels = int(target_lens.sum())
    first, *others = (weights[name] * value for name, value in sums.items())
    total = sum(others, first) / max(1, labels)
    unalignable = torch.stack(list(impossible.values())).any(0).nonzero()[:, 0].tolist()
    return Losses(total, {name: value.detach() for name, value in sums.items()}, labels, unalignable)
