"""Run a model over a set: encode every batch once, then search it with every method, timing each."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Union

import torch
from torch import Tensor

from hainan_k2.data.batch import Batch
from hainan_k2.inference.failures import FailureLog
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.scoring.wer import score
from hainan_k2.search import METHODS, NOTHING, Knowledge
from hainan_k2.search.sweep import Row, make_rows
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.text.tokenizer import Tokenizer, normalise
from hainan_k2.training.objective import LossConfig, transducer_losses

failures = FailureLog()  # of the searches of this process


@dataclass(frozen=True)
class Decoded:
    """One utterance: its id, reference text and what was recognised, or why nothing was, by the label of the row."""

    id: str
    reference: str
    seconds: float
    hypotheses: dict[str, Hypothesis]
    failures: dict[str, str]

    def texts(self, label: str) -> tuple[str, str, str]:
        """id, reference and recognised text, to be scored. Where the search failed, nothing was recognised."""
        found = self.hypotheses.get(label)
        return self.id, normalise(self.reference), normalise(found.text) if found else ""

    def add(self, row: Row, found: Union[Hypothesis, str], pieces: Sequence[str]) -> None:
        """What a row found in the utterance, or why it failed."""
        if isinstance(found, str):
            self.failures[row.label] = found
            return
        found = found.with_words(pieces, audio_seconds=self.seconds)
        self.hypotheses[row.label] = nearest(found, self.reference) if METHODS[row.method].oracle else found


@torch.no_grad()
def decode_batches(
    model: Hainan,
    batches: Iterable[Batch],
    rows: Sequence[Row],
    pieces: Sequence[str],
    watch: Stopwatch,
    knowledge: Knowledge = NOTHING,
) -> Iterator[list[Decoded]]:
    """Every batch, decoded by every row from one pass of the encoder; failures as `search` reports them.

    `watch` adds up the seconds of "encoder" and, by its label, of every row's search; rows that are searched together
    share their time evenly. `model` is in eval mode.
    """
    device = next(model.parameters()).device
    for batch in batches:
        batch = batch.to(device)
        with watch.section("encoder"):
            encoder_out, lens = model.encoder(batch.features, batch.lens)
        yield decode_encoded(model, batch, encoder_out, lens, rows, pieces, watch, knowledge)


def decode_encoded(
    model: Hainan,
    batch: Batch,
    encoder_out: Tensor,
    lens: Tensor,
    rows: Sequence[Row],
    pieces: Sequence[str],
    watch: Stopwatch,
    knowledge: Knowledge = NOTHING,
) -> list[Decoded]:
    """One batch, of which the encoder has made encoder_out (B, T, C), lens (B,), decoded by every row."""
    decoded = [Decoded(*utterance, {}, {}) for utterance in zip(batch.ids, batch.texts, batch.seconds)]
    for run in runs(rows):
        start = watch.now()
        results = search(model, encoder_out, lens, run, knowledge, batch.ids)
        share = (watch.now() - start) / len(run)
        for row, found in zip(run, results):
            watch.seconds[row.label] += share
            for d, hypothesis in zip(decoded, found):
                d.add(row, hypothesis, pieces)
    return decoded


def runs(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows by what is searched together: those of a method that differ only in what it sweeps."""
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        swept = METHODS[row.method].sweeps
        rest = [value for name, value in vars(row.options).items() if name not in swept]
        found.setdefault((row.method, *rest), []).append(row)
    return list(found.values())


def search(
    model: Hainan, encoder_out: Tensor, lens: Tensor, run: Sequence[Row], knowledge: Knowledge, ids: Sequence[str]
) -> list[list[Union[Hypothesis, str]]]:
    """What every row of a run finds in encoder_out (B, T, C), lens (B,).

    Where the search of a batch fails, its utterances are searched one by one and row by row, so that none is lost by
    another. An utterance that fails then has, instead of a Hypothesis, the reason; the log has the traceback where the
    search itself seems to be at fault (FailureLog).
    """
    method = METHODS[run[0].method]
    try:
        if len(run) > 1:
            return method.function.sweep(model, encoder_out, lens, [row.options for row in run], knowledge)
        return [method.function(model, encoder_out, lens, run[0].options, knowledge)]
    except Exception as error:
        what = f"{method.name} failed on a batch of {len(ids)} utterances, which are tried one by one"
        failures.report(logging.WARNING, what, error)

    def alone(b: int, row: Row) -> Union[Hypothesis, str]:
        try:
            one = encoder_out[b : b + 1, : int(lens[b])], lens[b : b + 1]
            return method.function(model, *one, row.options, knowledge)[0]
        except Exception as error:
            return failures.report(logging.ERROR, f"{row.label} failed on utterance {ids[b]}", error)

    return [[alone(b, row) for b in range(len(ids))] for row in run]


def nearest(hypothesis: Hypothesis, reference: str) -> Hypothesis:
    """The hypothesis with that of its alternatives at its place that has the fewest word errors; the first of such."""
    import kaldialign

    words = normalise(reference).split()
    errors = [kaldialign.edit_distance(words, normalise(h.text).split())["total"] for h in hypothesis.alternatives]
    best = hypothesis.alternatives[errors.index(min(errors))]
    return replace(best, alternatives=hypothesis.alternatives)


class Evaluator:
    """Validation between epochs: the unmasked transducer loss per label and the word error rate of greedy searches."""

    def __init__(self, batches: Iterable[Batch], tokenizer: Tokenizer):
        self.batches, self.tokenizer = batches, tokenizer

    @torch.no_grad()
    def validate(self, model: Hainan, loss: LossConfig) -> dict[str, float]:
        """{"dev_loss", "dev_wer" (AR), "dev_wer_nar"}; rates as fractions. Every batch is encoded once.

        All are NaN, and the log names the utterances, where a loss is NaN: what is searched in such scores is no
        result.
        """
        model.eval()
        device, rows, watch = next(model.parameters()).device, make_rows(("ar-greedy", "nar-greedy")), Stopwatch()
        total, labels, decoded, broken = 0.0, 0, [], []
        for batch in self.batches:
            batch = batch.with_targets(self.tokenizer).to(device)
            encoder_out, lens = model.encoder(batch.features, batch.lens)
            decoded += decode_encoded(model, batch, encoder_out, lens, rows, self.tokenizer.pieces, watch)
            tdt = transducer_losses(model, encoder_out, lens, batch.targets, batch.target_lens, loss, watch)["tdt"]
            aligned = tdt != float("inf")  # inf: no path has these labels; NaN is an error and must stay visible
            broken += [name for name, value in zip(batch.ids, tdt.tolist()) if math.isnan(value)]
            total += float(tdt[aligned].sum())
            labels += int(batch.target_lens[aligned].sum())
        if broken:
            logging.error(
                "the dev loss is not finite, so there are no dev figures; %d utterances: %s",
                len(broken),
                " ".join(broken[:5]) + (" ..." if broken[5:] else ""),
            )
        figures = {"dev_loss": total / labels if labels else math.nan}
        for method, name in (("ar-greedy", "dev_wer"), ("nar-greedy", "dev_wer_nar")):
            wer = score(d.texts(method) for d in decoded).wer
            figures[name] = wer if math.isfinite(figures["dev_loss"]) else math.nan
        return figures
