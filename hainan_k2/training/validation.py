"""Validation after every epoch: the loss per label and the word error rates of the greedy searches."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

import torch

from hainan_k2.data.batch import Batch
from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.engine import decode_encoded, encode_batch
from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS, Windows
from hainan_k2.model.hainan import Hainan
from hainan_k2.scoring.wer import score
from hainan_k2.search.sweep import make_rows
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.text.tokenizer import Tokenizer
from hainan_k2.training.objective import LossConfig, transducer_losses

logger = logging.getLogger(__name__)

FIGURES = {"ar-greedy": "dev_wer", "nar-greedy": "dev_wer_nar"}  # by method


class Evaluator:
    """Validates a model on a dev set, whose batches are read anew each time: no features are held in memory.

    Args:
      batches: EvaluationData with longest=windows.seconds, so that the dev set is decoded as decode.py would.
    """

    def __init__(self, batches: Iterable[Batch], tokenizer: Tokenizer, windows: Windows = DEFAULT_WINDOWS):
        self.batches, self.tokenizer, self.windows = batches, tokenizer, windows

    @torch.no_grad()
    def validate(self, model: Hainan, loss: LossConfig) -> dict[str, float]:
        """Run the encoder once on every batch; compute the loss and decode from its output.

        Returns:
          "dev_loss": the transducer loss per label with an unmasked predictor, in nats. Utterances that no path can
          align add nothing. "dev_wer", "dev_wer_nar": word error rates of ar-greedy and nar-greedy, as fractions.
          All are NaN where a loss is NaN, and the log names the utterances: decoding such scores gives no result.
        """
        model.eval()
        device, rows, watch = next(model.parameters()).device, make_rows(tuple(FIGURES)), Stopwatch()
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
            tdt = transducer_losses(model, encoder_out, lens, batch.targets, batch.target_lens, loss, watch)["tdt"]
            aligned = tdt != float("inf")  # inf: no path has these labels; NaN is an error and must stay visible
            not_finite += [name for name, value in zip(batch.ids, tdt.tolist()) if math.isnan(value)]
            total += float(tdt[aligned].sum())
            labels += int(batch.target_lens[aligned].sum())
        if not_finite:
            logger.error(
                "the dev loss is not finite, so there are no dev figures; %d utterances: %s",
                len(not_finite),
                " ".join(not_finite[:5]) + (" ..." if not_finite[5:] else ""),
            )
        figures = {"dev_loss": total / labels if labels else math.nan}
        for method, name in FIGURES.items():
            wer = score(utterance.texts(method) for utterance in decoded).wer
            figures[name] = wer if math.isfinite(figures["dev_loss"]) else math.nan
        return figures
