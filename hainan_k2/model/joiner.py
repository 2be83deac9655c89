"""The joint network: token and duration logits of an encoder frame and, unless masked, a predictor output."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor, nn

from hainan_k2.config import ModelConfig


def mask_predictor(projected: Tensor, probability: float) -> Tensor:
    """HAINAN's stochastic predictor masking (arXiv 2410.02597, section 3), for training.

    Zeroes each (utterance, label position) of projected (B, U+1, J) with `probability`, for all frames and channels at
    once. Positions that are kept are not rescaled. The mask is applied after the projection and thus also removes the
    projection's bias, so that a masked position is exactly the non-autoregressive (NAR) joint.
    """
    keep = torch.rand(projected.shape[:2], device=projected.device) >= probability
    return projected * keep[:, :, None].to(projected.dtype)


class Joiner(nn.Module):
    """W_out dropout(relu(W_enc enc + W_pred pred)): V token logits, then D duration logits.

    An RNN-T has the single duration 0 and no weights for it: its logit is the constant 0, its log-probability too.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.vocab_size = config.vocab_size
        self.predicts_durations = config.objective == "tdt"
        self.activation = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}[config.joiner_activation]
        self.enc = nn.Linear(config.d_model, config.joiner_dim)
        self.pred = nn.Linear(config.predictor_dim, config.joiner_dim)
        self.dropout = nn.Dropout(config.joiner_dropout)
        outputs = config.vocab_size + len(config.durations) * self.predicts_durations
        self.out = nn.Linear(config.joiner_dim, outputs)

    def project_encoder(self, encoder_out: Tensor) -> Tensor:
        """(..., C) -> (..., J); computed once per frame."""
        return self.enc(encoder_out)

    def project_predictor(self, predictor_out: Tensor) -> Tensor:
        """(..., H) -> (..., J); computed once per label."""
        return self.pred(predictor_out)

    def logits(self, enc_proj: Tensor, pred_proj: Optional[Tensor] = None) -> Tensor:
        """Raw logits (..., V + D) of projected inputs (..., J) that broadcast. Without `pred_proj`: the NAR joint.

        The NAR joint has no predictor term: a zero predictor output would still add W_pred's bias.
        """
        outputs = self.outputs(enc_proj, pred_proj)
        return outputs if self.predicts_durations else nn.functional.pad(outputs, (0, 1))

    def outputs(self, enc_proj: Tensor, pred_proj: Optional[Tensor] = None) -> Tensor:
        """As `logits`, but without the constant logit of an RNN-T's duration 0: what the losses take."""
        hidden = enc_proj if pred_proj is None else enc_proj + pred_proj
        if pred_proj is not None and self.activation is torch.relu:
            hidden = hidden.relu_()  # in place: the largest tensor of training
        else:
            hidden = self.activation(hidden)
        outputs: Tensor = self.out(self.dropout(hidden))
        return outputs

    def log_probs(self, enc_proj: Tensor, pred_proj: Optional[Tensor] = None) -> tuple[Tensor, Tensor]:
        """Log-probabilities of tokens (..., V) and durations (..., D), by two separate softmaxes, natural log."""
        logits = self.logits(enc_proj, pred_proj)
        tokens, durations = logits.split([self.vocab_size, logits.shape[-1] - self.vocab_size], dim=-1)
        return tokens.log_softmax(-1), durations.log_softmax(-1)
