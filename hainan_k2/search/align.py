"""Forced alignment: when the words of a given text were spoken.

The alignment is the best path of the text's training lattice (hainan_k2.fsa.losses.best_path): it emits all tokens of
text, and ends exactly on the last frame. `scores` tells where the log-probabilities come from:

    ar     predictor and joint, at every frame and label position
    nar    the joint without the predictor, which knows no label position and costs one evaluation per frame

The confidence of a token is its probability where it is emitted. The score is that of the path.

A long recording is aligned inside a band of label positions, which is doubled if the path comes near its edge. By NAR
scores the band follows the greedy search: up to a frame, the same share of the text is spoken as of the greedy result.
By AR scores it follows the alignment by NAR scores, and the joint is computed on the way, for the band alone. So time
and memory are in proportion to the length.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hainan_k2.config import BLANK
from hainan_k2.fsa.losses.best_path import Alignment, StateScores, best_paths
from hainan_k2.fsa.losses.logprobs import JointLogits
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis, Token

SCORES = ("ar", "nar")
BANDS = {"nar": 512, "ar": 32}  # labels, at first
_LOGITS = 1 << 25  # of the joint at a time: 128 MB
_STATES = 1 << 24  # of lattices at a time, without a band


def align(
    model: Hainan, encoder_out: Tensor, lens: Tensor, texts: Sequence[Sequence[int]], scores: str = "ar"
) -> list[Hypothesis]:
    """The best alignment of a text with each utterance of encoder_out (B, T, C), lens (B,).

    Args:
      texts: B sequences of token ids.
      scores: "ar" or "nar".

    Returns:
      B Hypotheses, with the tokens of the text. One with score -inf and no tokens stands for a text that has no
      alignment, because it has too many tokens for the frames.

    Raises:
      ValueError: for other scores, sizes that do not fit, and token ids that the model does not have.
    """
    check(model, lens, texts, scores)
    with torch.no_grad():
        projected = model.joiner.project_encoder(encoder_out)
        return (align_nar if scores == "nar" else align_ar)(model, projected, lens, texts)


def check(model: Hainan, lens: Tensor, texts: Sequence[Sequence[int]], scores: str) -> None:
    """ValueError for what `align` refuses."""
    if scores not in SCORES:
        raise ValueError(f"scores is {scores!r}: choose from {', '.join(SCORES)}")
    if model.config.objective != "tdt":
        raise ValueError(f"forced alignment needs a TDT model, and this is of type {model.config.objective}")
    if len(texts) != len(lens):
        raise ValueError(f"{len(texts)} texts for {len(lens)} utterances: each has one")
    for text in texts:
        wrong = [token for token in text if not BLANK < token < model.vocab_size]
        if wrong:
            raise ValueError(f"token {wrong[0]} is not in the model's vocabulary of {model.vocab_size}")


def align_nar(model: Hainan, projected: Tensor, lens: Tensor, texts: Sequence[Sequence[int]]) -> list[Hypothesis]:
    """`align` by NAR scores; projected (B, T, J)."""
    results: dict[int, Hypothesis] = {}
    for rows in _parts(lens, texts, _STATES):
        frames, sizes, labels = _padded(lens, texts, rows)
        tokens, durations = model.joiner.log_probs(projected[rows, : max(1, int(frames.max()))], None)
        scores = _without_predictor(tokens, durations, labels)
        if _states(lens, texts, rows) <= _STATES:
            found = best_paths(scores, frames, sizes, model.durations)
        else:
            middle = _greedy_middle(model, tokens[0], durations[0], int(sizes))
            found = [_in_band(scores, middle, frames, sizes, model.durations, BANDS["nar"])]
        results.update(zip(rows, _hypotheses(found, scores, frames, [texts[b] for b in rows])))
    return [results[b] for b in range(len(texts))]


def align_ar(model: Hainan, projected: Tensor, lens: Tensor, texts: Sequence[Sequence[int]]) -> list[Hypothesis]:
    """`align` by AR scores; projected (B, T, J)."""
    results: dict[int, Hypothesis] = {}
    limit = _LOGITS // (model.vocab_size + len(model.durations))
    for rows in _parts(lens, texts, limit):
        frames, sizes, labels = _padded(lens, texts, rows)
        encoded = projected[rows, : max(1, int(frames.max()))]
        predicted = model.joiner.project_predictor(model.predictor(labels[:, :-1]))
        if _states(lens, texts, rows) <= limit:
            scores = _full_joint(model, encoded, predicted, frames, sizes, labels)
            found = best_paths(scores, frames, sizes, model.durations)
        else:
            (without_predictor,) = align_nar(model, encoded, frames, [texts[b] for b in rows])
            scores = _joint_on_demand(model, encoded[0], predicted[0], labels[0])
            middle = _path_middle(without_predictor, int(frames), int(sizes))
            found = [_in_band(scores, middle, frames, sizes, model.durations, BANDS["ar"])]
        results.update(zip(rows, _hypotheses(found, scores, frames, [texts[b] for b in rows])))
    return [results[b] for b in range(len(texts))]


def _without_predictor(tokens: Tensor, durations: Tensor, labels: Tensor) -> StateScores:
    """The NAR scores of a batch: log-probabilities (B, T, V) and (B, T, D), labels (B, U + 1)."""
    utterance = torch.arange(len(labels), device=labels.device)[:, None]

    def scores(frame: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        token = tokens[utterance, frame, labels.gather(1, position)]
        return tokens[utterance, frame, BLANK], token, durations[utterance, frame]

    return scores


def _full_joint(
    model: Hainan, encoded: Tensor, predicted: Tensor, frames: Tensor, sizes: Tensor, labels: Tensor
) -> StateScores:
    """The AR scores of all states (t, u) of a batch: encoded (B, T, J), predicted (B, U + 1, J)."""
    logits = model.joiner.logits(encoded[:, :, None], predicted[:, None])
    following = labels[:, None].expand(logits.shape[:-1])
    joint = JointLogits(logits, following, model.vocab_size, len(model.durations), frames.cpu(), sizes.cpu() + 1)
    blank, token, duration, _ = joint.log_probs()
    utterance = torch.arange(len(frames), device=frames.device)[:, None]

    def scores(frame: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        state = (utterance, frame, position)
        return blank[state], token[state], duration[state]

    return scores


def _joint_on_demand(model: Hainan, encoded: Tensor, predicted: Tensor, labels: Tensor) -> StateScores:
    """The AR scores of one recording, computed for the states asked for: encoded (T, J), predicted (U + 1, J)."""

    def scores(frame: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tokens, durations = model.joiner.log_probs(encoded[frame], predicted[position])
        token = tokens.gather(-1, labels[position][..., None])[..., 0]
        return tokens[..., BLANK], token, durations

    return scores


def _greedy_middle(model: Hainan, tokens: Tensor, durations: Tensor, labels: int) -> Tensor:
    """(N,) about which position the path has on each diagonal, from the NAR greedy walk over tokens (T, V), durations
    (T, D)."""
    length = len(tokens)
    spoken = torch.zeros(length + 1, dtype=torch.float64)
    steps = torch.tensor(model.durations)[durations.argmax(-1).cpu()].clamp(min=1).tolist()
    emits, t = (tokens.argmax(-1) != BLANK).tolist(), 0
    while t < length:
        spoken[t + 1] = float(emits[t])
        t += steps[t]
    if not spoken.any():
        spoken[1:] = 1.0
    position = spoken.cumsum(0) * (labels / spoken.sum())
    diagonal = torch.arange(length + 1) + position  # rising
    wanted = torch.arange(length + labels + 1, dtype=torch.float64)
    frame = (torch.searchsorted(diagonal, wanted, right=True) - 1).clamp(min=0)
    return torch.maximum(position[frame], wanted - length).minimum(wanted)


def _path_middle(alignment: Hypothesis, frames: int, labels: int) -> Tensor:
    """(N,) the position of an alignment's path on each diagonal; without an alignment, that of a steady speaker."""
    wanted = torch.arange(frames + labels + 1, dtype=torch.float64)
    if not alignment.tokens:
        return wanted * (labels / max(1, frames + labels))
    emitted = torch.tensor([token.frame + u for u, token in enumerate(alignment.tokens)], dtype=torch.float64)
    return torch.searchsorted(emitted, wanted).double()


def _in_band(
    scores: StateScores, middle: Tensor, frames: Tensor, sizes: Tensor, durations: Sequence[int], width: int
) -> Alignment:
    """The best path of one recording in a band around `middle` (N,), doubled until the path keeps off its edges."""
    labels = int(sizes)
    while True:
        width = min(width, labels + 1)
        bounds = (middle - width // 2).clamp(min=0, max=labels + 1 - width).long().cummax(0).values
        (found,) = best_paths(scores, frames, sizes, durations, bounds[None].to(frames.device), width)
        if width > labels or (found.score > -torch.inf and found.room >= width // 8):
            return found
        width *= 2


def _states(lens: Tensor, texts: Sequence[Sequence[int]], rows: Sequence[int]) -> int:
    """Diagonals times label positions of a batch of these utterances."""
    widest = max(len(texts[b]) for b in rows) + 1
    return len(rows) * widest * max(int(lens[b]) + len(texts[b]) + 1 for b in rows)


def _parts(lens: Tensor, texts: Sequence[Sequence[int]], limit: int) -> list[list[int]]:
    """The utterances in parts of at most `limit` states, or one utterance; similar sizes together."""
    parts: list[list[int]] = []
    for b in sorted(range(len(texts)), key=lambda b: (int(lens[b]), len(texts[b]))):
        if parts and _states(lens, texts, [*parts[-1], b]) <= limit:
            parts[-1].append(b)
        else:
            parts.append([b])
    return parts


def _padded(lens: Tensor, texts: Sequence[Sequence[int]], rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Frames (B,) and labels (B,) of some utterances, and the label after each position (B, U + 1); none is a blank."""
    sizes = torch.tensor([len(texts[b]) for b in rows], device=lens.device)
    labels = [[*texts[b], *[BLANK] * (int(sizes.max()) + 1 - len(texts[b]))] for b in rows]
    return lens[list(rows)].long(), sizes, torch.tensor(labels, dtype=torch.int64, device=lens.device)


def _hypotheses(
    found: Sequence[Alignment], scores: StateScores, frames: Tensor, texts: Sequence[Sequence[int]]
) -> list[Hypothesis]:
    """One Hypothesis per path, with the probabilities of its tokens as confidences."""
    width = max(1, max(len(path.frames) for path in found))
    frame = torch.tensor([[*path.frames, *[0] * (width - len(path.frames))] for path in found], device=frames.device)
    longest = max(len(text) for text in texts)
    position = torch.arange(width, device=frames.device).clamp(max=longest).expand_as(frame)
    confidences = scores(frame, position)[1].exp().tolist()
    return [
        Hypothesis(
            tuple(Token(*columns) for columns in zip(text, path.frames, path.durations, row)), path.score, length
        )
        for path, text, row, length in zip(found, texts, confidences, frames.tolist())
    ]
