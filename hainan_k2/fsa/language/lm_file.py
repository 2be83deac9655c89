"""Token n-gram models as small files that load without parsing: an automaton of NgramLm with 8-bit probabilities.

A container (hainan_k2.files.container) with

    arcs         (S,) int16 or int32: the number of arcs of every state; state 0 has an arc of each of the W words
    words        (A,) int16 or int32, ascending within a state
    next_states  (A,) int32
    log_probs    (A,) uint8, numbers of entries of `log_prob_values` (256,) float32
    backoff_states (S,) int32, `backoffs` (S,) uint8 with `backoff_values` (256,) float32
    tokens       (V,) int32: the word of every token

Seven bytes for an n-gram and as many for a history.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np
import torch
from torch import Tensor

from hainan_k2.files.container import Kind, is_container, read_container, write_container
from hainan_k2.fsa.language.arpa import MAX_ORDER
from hainan_k2.fsa.language.ngram import NgramLm, vocabulary_of

KIND = Kind("token language model", "hainan-prune-lm")
_CODES = 256
_LOWEST_CODES, _LOWEST_SHARE = 16, 0.001
_NAMES = (
    "arcs",
    "words",
    "next_states",
    "log_probs",
    "log_prob_values",
    "backoff_states",
    "backoffs",
    "backoff_values",
    "tokens",
)
_LARGEST = 2500.0  # of the absolute value of a log-probability; an ARPA file may have 1000 in base 10


def read_lm(path: Union[str, Path], symbols: Sequence[str]) -> NgramLm:
    """The LM of an ARPA file, plain or gzipped, or of a file of `write_lm`.

    Args:
      symbols: the tokens; the index of one is its id.
    Raises:
      ValueError: in one line with the file, for what is neither, is damaged, or is a model of other tokens.
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    if not is_container(head):
        return NgramLm.read(str(path), symbols)
    tensors, facts = read_container(path, KIND)
    if facts.get("symbols") != _fingerprint(symbols):
        raise ValueError(f"{path} is a language model over other tokens than the {len(symbols)} of this tokenizer")
    try:
        return _unpacked(tensors, facts, symbols)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{path} does not hold a back-off automaton: {' '.join(str(error).split())[:200]}") from None


def write_lm(path: Union[str, Path], lm: NgramLm, symbols: Sequence[str]) -> None:
    """Write an LM over the tokens `symbols`, its probabilities and back-off weights rounded to 256 values each."""
    keys = lm.keys[:-1].cpu()
    log_prob_values, log_probs = _quantised(lm.log_probs[:-1].cpu())
    backoff_values, backoffs = _quantised(lm.backoff_log_probs.cpu())
    tensors = {
        "arcs": _narrow(torch.bincount(keys // lm.num_words, minlength=lm.num_states)),
        "words": _narrow(keys % lm.num_words),
        "next_states": lm.next_states[:-1].to("cpu", torch.int32),
        "log_probs": log_probs,
        "log_prob_values": log_prob_values,
        "backoff_states": lm.backoff_states.to("cpu", torch.int32),
        "backoffs": backoffs,
        "backoff_values": backoff_values,
        "tokens": lm.words.to("cpu", torch.int32),
    }
    facts = {
        "order": lm.order,
        "start": lm.start,
        "end_word": lm.end_word,
        "num_words": lm.num_words,
        "symbols": _fingerprint(symbols),
    }
    write_container(path, KIND, tensors, facts)


def _fingerprint(symbols: Sequence[str]) -> str:
    """What two lists of tokens have in common only if they are equal."""
    return hashlib.sha256("\n".join(symbols).encode()).hexdigest()


def _narrow(values: Tensor) -> Tensor:
    return values.to(torch.int16 if int(values.max()) < 2**15 else torch.int32)


def _quantised(values: Tensor) -> tuple[Tensor, Tensor]:
    """256 values (256,) float32, ascending, and for each of `values` (N,) the number of the nearest one (N,) uint8.

    -inf has a code of its own.
    """
    exact = values.double().numpy()
    finite = np.sort(exact[np.isfinite(exact)])
    infinite = bool(len(finite) < len(exact))
    distinct = np.unique(finite)
    room = _CODES - infinite
    if len(distinct) > room:
        distinct = _means(finite, room)
    table = np.append([-np.inf] if infinite else [], distinct)
    middles = (table[1:] + table[:-1]) / 2  # between -inf and a number: -inf
    codes = np.searchsorted(middles, exact, side="right")
    if infinite:
        codes = np.where(np.isfinite(exact), np.maximum(codes, 1), 0)
    padded = np.append(table, np.full(_CODES - len(table), table[-1]))
    return torch.from_numpy(padded).float(), torch.from_numpy(codes.astype(np.uint8))


def _means(values: np.ndarray, count: int) -> np.ndarray:
    """(count,) values at most, ascending, that are near to `values` (N,), sorted: the means of intervals.

    The lowest values are rare and far apart: intervals of equally many. All others: intervals of equal width, since the
    highest probabilities, which are few, occur most often in texts.
    """
    lowest, rest = np.split(values, [int(_LOWEST_SHARE * len(values))])
    edges = np.linspace(rest[0], rest[-1], count - _LOWEST_CODES + 1)
    number = np.clip(np.searchsorted(edges, rest, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(number)
    means = np.bincount(number, rest)[counts > 0] / counts[counts > 0]
    parts = [part.mean() for part in np.array_split(lowest, _LOWEST_CODES) if len(part)]
    return np.unique(np.append(parts, means))


def _unpacked(tensors: Mapping[str, Tensor], facts: Mapping[str, Any], symbols: Sequence[str]) -> NgramLm:
    """The automaton. Raises ValueError, or what a wrong type raises, for what is none."""
    arcs, words, next_states, codes, values, backoff_states, backoff_codes, backoff_values, tokens = (
        tensors[name] for name in _NAMES
    )
    order, start, end_word, num_words = (facts[name] for name in ("order", "start", "end_word", "num_words"))
    whole = all(isinstance(number, int) and 0 <= number < 2**31 for number in (order, start, end_word, num_words))
    _require(whole and 1 <= order <= MAX_ORDER and end_word == len(symbols) + 1 < num_words, "its sizes are wrong")
    arcs, words, next_states, backoff_states, tokens = (
        value.long() for value in (arcs, words, next_states, backoff_states, tokens)
    )
    states, count = len(arcs), len(words)
    _require(codes.dtype == backoff_codes.dtype == torch.uint8, "its codes are no bytes")
    shapes = (arcs, words, next_states, codes, values, backoff_states, backoff_codes, backoff_values, tokens)
    wanted = (states, count, count, count, _CODES, states, states, _CODES, len(symbols))
    _require(all(value.shape == (size,) for value, size in zip(shapes, wanted)), "its tensors do not fit each other")
    _require(states > start and int(arcs.min()) >= 0 and int(arcs.sum()) == count, "its arcs are of no state")
    unknown = vocabulary_of(symbols)[b"<unk>"]
    itself = (tokens == torch.arange(len(symbols))) | (tokens == unknown)
    _require(_below(words, num_words) and bool(itself.all()), "it has words beyond its vocabulary")
    _require(_below(next_states, states), "an arc leads to no state")
    lower = torch.arange(states).sub_(1).clamp_(min=0)
    _require(bool(((backoff_states >= 0) & (backoff_states <= lower)).all()), "it backs off in a circle")
    keys = torch.repeat_interleave(torch.arange(states), arcs) * num_words + words
    _require(int(arcs[0]) == num_words and bool((keys[1:] > keys[:-1]).all()), "its arcs are not sorted")
    _require(_is_log(values, True) and _is_log(backoff_values, False), "a probability is none")
    log_probs = values.float()[codes.long()]
    absent = torch.isinf(log_probs[tokens])
    return NgramLm(
        order=order,
        start=start,
        end_word=end_word,
        num_words=num_words,
        missing=tuple(symbol for symbol, none in zip(symbols[1:], absent[1:].tolist()) if none),
        words=tokens,
        keys=torch.cat([keys, torch.tensor([torch.iinfo(torch.int64).max])]),
        log_probs=torch.cat([log_probs, torch.zeros(1)]),
        next_states=torch.cat([next_states, torch.zeros(1, dtype=torch.int64)]),
        backoff_log_probs=backoff_values.float()[backoff_codes.long()],
        backoff_states=backoff_states,
    )


def _require(good: bool, complaint: str) -> None:
    if not good:
        raise ValueError(complaint)


def _below(values: Tensor, bound: int) -> bool:
    return bool(((values >= 0) & (values < bound)).all())


def _is_log(values: Tensor, probability: bool) -> bool:
    """Whether all values may be logs of back-off weights; of probabilities, which may be 0 and not above 1."""
    usual = values.float().abs() <= _LARGEST
    if probability:
        usual = usual & (values <= 0.01) | (values == -float("inf"))
    return bool(usual.all())
