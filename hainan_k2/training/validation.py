"""Validation after every epoch: the loss per label and the word error rates of the model's greedy searches."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import NamedTuple, Optional

import torch

from hainan_k2.config import ModelConfig
from hainan_k2.data.batch import Batch
from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.engine import decode_encoded, encode_batch
from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS, Windows
from hainan_k2.model.hainan import Hainan
from hainan_k2.scoring.wer import TextPair, score
from hainan_k2.search.methods import METHODS
from hainan_k2.search.suitability import why_unsuitable
from hainan_k2.search.sweep import make_rows
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.text.tokenizer import Tokenizer
from hainan_k2.training.ctc_loss import ctc_losses
from hainan_k2.training.objective import LossConfig, transducer_losses
from hainan_k2.training.ranks import Ranks

logger = logging.getLogger(__name__)


def figure_names(config: ModelConfig) -> dict[str, str]:
    """By greedy search that such a model has, the name of its word error rate."""
    if config.objective == "ctc":
        return {"ctc-greedy": "dev_wer"}
    names = {"ar-greedy": "dev_wer", "nar-greedy": "dev_wer_nar"}
    return {method: name for method, name in names.items() if not why_unsuitable(METHODS[method], config, METHODS)}


class Measured(NamedTuple):
    """What the figures of a part of the dev set are computed from: the sum of the losses in nats, the number of labels,
    for each method (id, reference, hypothesis), and the ids of utterances whose loss is NaN."""

    total: float
    labels: int
    texts: dict[str, list[TextPair]]
    not_finite: list[str]


class Evaluator:
    """Validates a model on a dev set, whose batches are read anew each time: no features are held in memory.

    Args:
      batches: EvaluationData with longest=windows.seconds, so that the dev set is decoded as decode.py would.
    """

    def __init__(self, batches: Iterable[Batch], tokenizer: Tokenizer, windows: Windows = DEFAULT_WINDOWS):
        self.batches, self.tokenizer, self.windows = batches, tokenizer, windows

    @torch.no_grad()
    def validate(self, model: Hainan, loss: LossConfig, ranks: Optional[Ranks] = None) -> dict[str, float]:
        """Run the encoder once on every batch; compute the loss and decode from its output.

        Args:
          ranks: the processes of a training, each of which has a part of the batches.
        Returns:
          "dev_loss": the TDT or RNN-T loss per label with an unmasked predictor, or the CTC loss of a CTC model, in
          nats. Utterances that no path can align add nothing. "dev_wer", "dev_wer_nar": word error rates of ar-greedy
          (ctc-greedy for a CTC model) and of nar-greedy if the model has an encoder-only joint, as fractions. All are
          NaN where a loss is NaN, and the log names the utterances: decoding such scores gives no result. They are
          those of the batches of all ranks.
        """
        parts = (ranks or Ranks()).agreed(lambda: self._measure(model, loss))
        not_finite = [name for part in parts for name in part.not_finite]
        if not_finite:
            logger.error(
                "the dev loss is not finite, so there are no dev figures; %d utterances: %s",
                len(not_finite),
                " ".join(not_finite[:5]) + (" ..." if not_finite[5:] else ""),
            )
        labels = sum(part.labels for part in parts)
        figures = {"dev_loss": sum(part.total for part in parts) / labels if labels else math.nan}
        for method, name in figure_names(model.config).items():
            wer = score(text for part in parts for text in part.texts[method]).wer
            figures[name] = wer if math.isfinite(figures["dev_loss"]) else math.nan
        return figures

    def _measure(self, model: Hainan, loss: LossConfig) -> Measured:
        model.eval()
        names, objective = figure_names(model.config), model.config.objective
        device, rows, watch = next(model.parameters()).device, make_rows(tuple(names)), Stopwatch()
        total, labels = 0.0, 0
        decoded: list[Decoded] = []
        not_finite: list[str] = []
        for batch in self.batches:
            batch = batch.with_targets(self.tokenizer).to(device)
            assert batch.targets is not None and batch.target_lens is not None
            encoder_out, lens = encode_batch(model, batch, self.windows)
            decoded += decode_encoded(
                model,
                batch,
                encoder_out,
                lens,
                rows,
                self.tokenizer.pieces,
                watch,
                normalise=self.tokenizer.scoring,
            )
            arguments = model, encoder_out, lens, batch.targets, batch.target_lens
            losses = (
                ctc_losses(*arguments) if objective == "ctc" else transducer_losses(*arguments, loss, watch)[objective]
            )
            aligned = losses != float("inf")  # inf: no path has these labels; NaN is an error and must stay visible
            not_finite += [name for name, value in zip(batch.ids, losses.tolist()) if math.isnan(value)]
            total += float(losses[aligned].sum())
            labels += int(batch.target_lens[aligned].sum())
        texts = {method: [utterance.texts(method) for utterance in decoded] for method in names}
        return Measured(total, labels, texts, not_finite)
