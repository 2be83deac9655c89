"""Autoregressive greedy search in fewer sequential steps: the encoder-only joint drafts, the predictor verifies.

A HAINAN model has two distributions, with the predictor (AR) and without (NAR). The NAR walk is known for all frames at
once, so from the frame where an utterance stands it drafts the next steps: tokens and blanks with their movements. The
predictor runs over the draft's tokens, the joint scores all steps in one call, and the longest prefix on which AR's own
token and movement equal the draft is accepted, together with AR's decision at the first step that differs:

    NAR draft from frame 7:   7: "the" +3    10: blank +2    12: "cat" +4    16: "s" +2
    AR on the draft:          7: "the" +3    10: blank +2    12: "cat" +5      -
    accepted:                 7: "the" +3    10: blank +2    12: "cat" +5    -> the next round begins at frame 17

The decisions are those of label-looping: the same tokens, frames, durations, and confidences but for rounding. This is
speculative decoding (arXiv 2211.17192) with greedy verification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.model.hainan import Hainan
from hainan_k2.search.cuda_graphs import SearchSteps
from hainan_k2.search.emissions import Frames

MAX_STEPS = 12  # steps of a draft
MIN_PROBABILITY = 0.3  # a step is drafted if all steps before it have at least this probability under the NAR joint
TRIAL = 6  # rounds per utterance before the acceptance of drafts is judged
MIN_ACCEPTED = 1.7  # accepted steps per round and utterance; with fewer, label-looping is faster


@dataclass(frozen=True)
class Draft:
    """The NAR walk from every of N frames: its token (blank included), how far it leads, how probable both are."""

    token: Sequence[int]
    moved: Sequence[int]
    probability: Sequence[float]

    @classmethod
    def of(cls, model: Hainan, frames: Frames) -> Draft:
        """From projected encoder frames (N, J)."""
        tokens, durations = model.joiner.log_probs(frames.values)
        token, duration = tokens.max(-1), durations.max(-1)
        moved = torch.tensor(model.durations, device=tokens.device)[duration.indices].clamp(min=1)
        probability = (token.values + duration.values).exp()
        return cls(token.indices.tolist(), moved.tolist(), probability.tolist())

    def steps(self, row: int, end: int) -> list[int]:
        """The frames of the steps to verify, from frame `row` of an utterance that ends before frame `end`."""
        rows: list[int] = []
        probability = 1.0
        while row < end and len(rows) < MAX_STEPS and probability >= MIN_PROBABILITY:
            rows.append(row)
            probability *= self.probability[row]
            row += self.moved[row]
        return rows

    def labels(self, rows: Sequence[int]) -> list[int]:
        """The tokens of these steps, without blanks."""
        return [self.token[row] for row in rows if self.token[row] != BLANK]


@dataclass
class Standing:
    """Where the utterances of a batch stand that have not ended: their numbers, frames (rows of `Frames`), tokens
    emitted on that frame, last labels, hotword states, and the predictor's state before the last label."""

    utterance: list[int]
    row: list[int]
    count: list[int]
    label: list[int]
    phrase: Tensor
    state: tuple[Tensor, ...]


def speculate(
    model: Hainan, frames: Frames, max_symbols: int, hotwords: Optional[HotwordGraph] = None
) -> tuple[list[tuple], Optional[Standing]]:
    """Draft and verify in rounds, over projected encoder frames (N, J), until every utterance has ended or too few
    steps of the drafts are accepted.

    Returns:
      The records of label-looping (greedy.py), and where the utterances stand that have not ended, None if all have.
    """
    device = frames.values.device
    steps = SearchSteps.of(model)
    draft = Draft.of(model, frames)
    starts, lens = frames.starts.tolist(), frames.lens.tolist()
    live = [u for u, length in enumerate(lens) if length]
    now = Standing(
        live,
        [starts[u] for u in live],
        [0] * len(live),
        [BLANK] * len(live),
        torch.zeros(len(live), dtype=torch.int64, device=device),
        model.predictor.initial_state(len(live), device, frames.values.dtype),
    )
    records: list[tuple] = []  # of Python numbers: utterance, token, frame, duration, both log-probs, budget spent
    turns = 0
    while now.utterance:
        if turns >= TRIAL * len(live) and len(records) < MIN_ACCEPTED * turns:
            return _columns(records, device, frames.values.dtype), now
        turns += len(now.utterance)
        tried = [draft.steps(row, starts[u] + lens[u]) for u, row in zip(now.utterance, now.row)]
        labels = [[label, *draft.labels(rows[:-1])] for label, rows in zip(now.label, tried)]
        width = max(map(len, labels))
        padded = torch.tensor([own + [BLANK] * (width - len(own)) for own in labels], device=device)
        predicted, states = steps.unroll(padded, now.state)
        predicted = predicted.flatten(0, 1)
        place = [n * width + k for n, rows in enumerate(tried) for k in _tokens_before(draft, rows)]
        slots = torch.tensor([[row for rows in tried for row in rows], place], device=device)
        phrases: Optional[Tensor] = None
        bias = predicted.new_zeros((slots.shape[1], 1))
        if hotwords is not None:
            phrases = _phrases(hotwords, now.phrase, padded)
            bias = hotwords.bias(phrases.flatten()[slots[1]])
        columns = steps.decide(frames.values[slots[0]], predicted[slots[1]], bias)
        decided = list(zip(*(column.tolist() for column in columns)))

        first, running, last_token, reached = 0, [], [], []
        for n, rows in enumerate(tried):
            u = now.utterance[n]
            for i, row in enumerate(rows, first):
                token, duration, *log_probs = decided[i]
                full = token != BLANK and duration == 0 and now.count[n] + 1 >= max_symbols
                moved = max(1, duration) if token == BLANK or full else duration
                records.append((u, token, row - starts[u], duration, *log_probs, full))
                now.count[n] = 0 if moved else now.count[n] + 1
                if token != draft.token[row] or moved != draft.moved[row]:
                    break
            first += len(rows)
            now.row[n] = row + moved
            if now.row[n] < starts[u] + lens[u]:
                running.append(n)
                before = place[i] - n * width  # labels of the draft that were consumed before the last step
                now.label[n] = token if token != BLANK else labels[n][before]
                last_token.append(token)
                reached.append(before)
        now = _advance(now, running, last_token, reached, states, phrases, hotwords)
    return _columns(records, device, frames.values.dtype), None


def _tokens_before(draft: Draft, rows: Sequence[int]) -> list[int]:
    """How many tokens the draft's steps before each of `rows` have."""
    counts, count = [], 0
    for row in rows:
        counts.append(count)
        count += draft.token[row] != BLANK
    return counts


def _phrases(hotwords: HotwordGraph, phrase: Tensor, labels: Tensor) -> Tensor:
    """The hotword states (B, L) after each of labels (B, L); `phrase` (B,) is that after the first."""
    phrases = [phrase]
    for k in range(1, labels.shape[1]):
        phrases.append(hotwords.advance(phrases[-1], labels[:, k])[1])
    return torch.stack(phrases, 1)


def _advance(
    now: Standing,
    running: list[int],
    last_token: list[int],
    reached: list[int],
    states: tuple[Tensor, ...],
    phrases: Optional[Tensor],
    hotwords: Optional[HotwordGraph],
) -> Standing:
    """The utterances that go on: `reached` labels of the draft are accepted, and `last_token` (a blank is none) follows
    them. `states` (B, L, ...) and phrases (B, L) are those after each label."""
    device = now.phrase.device
    utterance, row, count, label = (
        [values[n] for n in running] for values in (now.utterance, now.row, now.count, now.label)
    )
    if not running:
        return Standing(utterance, row, count, label, now.phrase[:0], tuple(s[:0] for s in now.state))
    rows, before, tokens = torch.tensor([running, reached, last_token], device=device)
    consumed = before + (tokens != BLANK)  # the state before the last label: 0 stands for the round's own
    state = tuple(torch.cat([old[:, None], new], 1)[rows, consumed] for old, new in zip(now.state, states))
    phrase = now.phrase[rows]
    if hotwords is not None and phrases is not None:
        phrase = phrases[rows, before]
        phrase = torch.where(tokens != BLANK, hotwords.advance(phrase, tokens)[1], phrase)
    return Standing(utterance, row, count, label, phrase, state)


def _columns(records: list[tuple], device: torch.device, dtype: torch.dtype) -> list[tuple]:
    """One record of tensors, as label-looping has them, of many of numbers."""
    kinds = (torch.int64,) * 4 + (dtype, dtype, torch.bool)
    return [tuple(torch.tensor(c, dtype=k, device=device) for c, k in zip(zip(*records), kinds))] if records else []
