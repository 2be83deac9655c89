"""Run a model over a set: encode every batch once, then search it with every method, timing each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.score import score
from hainan_k2.search import METHODS, NOTHING, Knowledge, SearchConfig
from hainan_k2.text import Tokenizer, normalise
from hainan_k2.tools.batches import Batch
from hainan_k2.tools.objective import LossConfig, transducer_losses
from hainan_k2.tools.stopwatch import Stopwatch


@dataclass(frozen=True)
class Decoded:
    """One utterance: its id, reference text and, by method, what was recognised."""

    id: str
    reference: str
    seconds: float
    hypotheses: dict[str, Hypothesis]


@torch.no_grad()
def decode_batches(model: Hainan, batches: Iterable[Batch], methods: Sequence[str], options: SearchConfig,
                   pieces: Sequence[str], watch: Stopwatch, knowledge: Knowledge = NOTHING
                   ) -> Iterator[list[Decoded]]:
    """Every batch, decoded by every method from one pass of the encoder.

    `watch` adds up the seconds of "encoder" and of every method's search by its name. `model` is in eval mode.
    """
    device = next(model.parameters()).device
    for batch in batches:
        batch = batch.to(device)
        with watch.section("encoder"):
            encoder_out, lens = model.encoder(batch.features, batch.lens)
        found = {}
        for method in methods:
            with watch.section(method):
                found[method] = METHODS[method].function(model, encoder_out, lens, options, knowledge)
        yield [
            Decoded(name, text, seconds, {
                method: found[method][b].with_words(pieces, audio_seconds=seconds) for method in methods})
            for b, (name, text, seconds) in enumerate(zip(batch.ids, batch.texts, batch.seconds))
        ]


class Evaluator:
    """Validation between epochs: the unmasked transducer loss per label and the word error rate of greedy searches."""

    def __init__(self, batches: Iterable[Batch], tokenizer: Tokenizer):
        self.batches, self.tokenizer = batches, tokenizer

    def validate(self, model: Hainan, loss: LossConfig) -> dict[str, float]:
        """{"dev_loss", "dev_wer" (AR), "dev_wer_nar"}; rates as fractions."""
        model.eval()
        pairs: dict[str, list[tuple[str, str, str]]] = {"ar-greedy": [], "nar-greedy": []}
        batches = [batch.with_targets(self.tokenizer) for batch in self.batches]
        for decoded in decode_batches(model, batches, list(pairs), SearchConfig(), self.tokenizer.pieces, Stopwatch()):
            for d in decoded:
                for method, kept in pairs.items():
                    kept.append((d.id, normalise(d.reference), normalise(d.hypotheses[method].text)))
        figures = {"dev_loss": self._loss(model, batches, loss)}
        for method, name in (("ar-greedy", "dev_wer"), ("nar-greedy", "dev_wer_nar")):
            figures[name] = score(pairs[method]).wer
        return figures

    @torch.no_grad()
    def _loss(self, model: Hainan, batches: list[Batch], loss: LossConfig) -> float:
        device = next(model.parameters()).device
        total, labels = 0.0, 0
        for batch in batches:
            batch = batch.to(device)
            encoder_out, lens = model.encoder(batch.features, batch.lens)
            tdt = transducer_losses(model, encoder_out, lens, batch.targets, batch.target_lens, loss)["tdt"]
            spelled = torch.isfinite(tdt)
            total += float(tdt[spelled].sum())
            labels += int(batch.target_lens[spelled].sum())
        return total / max(1, labels)
