"""The excess of the pruned loss: `python -m tests.fsa.losses.pruning_excess EXP_DIR CUTS LANG_DIR [BAND]`.

Prints by how much the pruned loss of real batches exceeds the full one, for bounds from TDT occupancies and, for
comparison, from RNN-T ones.
"""

from __future__ import annotations

import pathlib
import sys

import torch

from hainan_k2 import fsa
from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.formats.checkpoint import load_model, select_checkpoints
from hainan_k2.text.tokenizer import Tokenizer
from tests.oracles.loss import rnnt_prune_bounds


@torch.no_grad()
def pruning_excess(model, batches, band):
    """(full loss in nats, {"tdt": excess, "rnnt": excess} as fractions of it) over all batches."""
    full, excess = 0.0, {"tdt": 0.0, "rnnt": 0.0}
    for batch in batches:
        encoder_out, lens = model.encoder(batch.features, batch.lens)
        predicted = model.predictor(batch.targets)
        am, lm = model.simple_am(encoder_out), model.simple_lm(predicted)
        enc = model.joiner.project_encoder(encoder_out)[:, :, None]
        pred = model.joiner.project_predictor(predicted)
        sizes = (lens, batch.target_lens, model.durations)
        whole = fsa.tdt_loss(model.joiner.logits(enc, pred[:, None]), batch.targets, *sizes, reduction="sum")
        _, occupancy = fsa.tdt_loss_simple(am, lm, batch.targets, *sizes)
        bounds = {
            "tdt": fsa.tdt_prune_bounds(occupancy, *sizes, band),
            "rnnt": rnnt_prune_bounds(am, lm, batch.targets, *sizes[:2], len(model.durations), band),
        }
        full += float(whole)
        for name, first in bounds.items():
            logits = model.joiner.logits(enc, fsa.tdt_prune(pred, first, band))
            pruned = fsa.tdt_loss_pruned(logits, batch.targets, first, *sizes, reduction="sum")
            excess[name] += float(pruned) - float(whole)
    return full, {name: value / full for name, value in excess.items()}


if __name__ == "__main__":
    exp_dir, cuts, lang_dir = sys.argv[1:4]
    band = int(sys.argv[4]) if len(sys.argv) > 4 else 5
    trained, _ = load_model(select_checkpoints(pathlib.Path(exp_dir), None, 1))
    tokenizer = Tokenizer(lang_dir)
    data = EvaluationData(cuts, DataConfig(max_duration=60, num_workers=0), trained.config)
    nats, shares = pruning_excess(trained, (batch.with_targets(tokenizer) for batch in data), band)
    print(
        f"full loss {nats:.1f} nats; S={band}: TDT bounds {100 * shares['tdt']:+.3f} %, "
        f"RNN-T bounds {100 * shares['rnnt']:+.3f} %"
    )
