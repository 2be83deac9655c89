"""Tests whether word times follow the sound: decodes with silence added before or after every utterance.

    python recipes/librispeech/local/delay_test.py EXP_DIR CUTS LANG_DIR [AVG]

The silence repeats the first (or last) frame of the normalised features. For each length it prints the WER of ar-greedy
and how much later words start that are recognised both with and without the silence (10, 50 and 90 % quantiles, ms).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from hainan_k2 import METHODS, SearchConfig
from hainan_k2.data.batch import Batch
from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.formats.checkpoint import load_model, select_checkpoints
from hainan_k2.text import Tokenizer, normalise

DELAYS = ((0, 0), (8, 0), (16, 0), (40, 0), (0, 40))  # feature frames of 10 ms added before and after


def padded(batch: Batch, before: int, after: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (B, T, F) and lens (B,) of a batch, with the first and last frame of each utterance repeated."""
    features = torch.nn.functional.pad(batch.features, (0, 0, before, after))
    for row, length in zip(features, batch.lens.tolist()):
        row[:before] = row[before]
        row[before + length : before + length + after] = row[before + length - 1]
    return features, batch.lens + before + after


@torch.no_grad()
def main(exp_dir: str, cuts: str, lang_dir: str, avg: int) -> None:
    """Decode `cuts` once for each of DELAYS and print a line for each."""
    import jiwer

    model, _ = load_model(select_checkpoints(Path(exp_dir), None, avg))
    pieces = Tokenizer(lang_dir).pieces
    batches = list(EvaluationData(cuts, DataConfig(num_workers=0), model.config))
    references = [normalise(text) for batch in batches for text in batch.texts]
    plain = None
    for before, after in DELAYS:
        delayed = [
            hypothesis.with_words(pieces)
            for batch in batches
            for hypothesis in METHODS["ar-greedy"].function(
                model, *model.encoder(*padded(batch, before, after)), SearchConfig()
            )
        ]
        plain = plain or delayed
        moved = [
            1000 * (late.start - early.start)
            for p, q in zip(plain, delayed)
            if p.words and q.words
            for chunk in jiwer.process_words(p.text, q.text).alignments[0]
            if chunk.type == "equal"
            for early, late in zip(
                p.words[chunk.ref_start_idx : chunk.ref_end_idx], q.words[chunk.hyp_start_idx : chunk.hyp_end_idx]
            )
        ]
        wer = jiwer.wer(references, [hypothesis.text for hypothesis in delayed])
        quantiles = np.round(np.percentile(moved, [10, 50, 90])) if moved else "none"
        print(
            f"{10 * before:3d} ms before, {10 * after:3d} ms after: WER {100 * wer:5.1f} %; {len(moved)} words moved "
            f"by {quantiles} ms"
        )


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]) if len(sys.argv) > 4 else 1)
