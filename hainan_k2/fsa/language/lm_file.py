"""N-gram models as small files that load without parsing: an automaton of NgramLm with 8-bit probabilities.

A container (hainan_k2.files.container) with

    arcs         (S,) int16 or int32: the number of arcs of every state; state 0 has an arc of each of the W words
    words        (A,) int16 or int32, ascending within a state
    next_states  (A,) int32
    log_probs    (A,) uint8, numbers of entries of `log_prob_values` (256,) float32
    backoff_states (S,) int32, `backoffs` (S,) uint8 with `backoff_values` (256,) float32
    tokens       (V,) int32: the word of every token

Seven bytes for an n-gram and as many for a history. A model over words (LookaheadLm) also has its words' spellings:

    spelled      (N,) int32: the words that have one; `lengths` (N,) int16 or int32, their numbers of tokens
    spellings    (sum of lengths,) int16 or int32: the tokens of one word after another
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, Union

import torch
from torch import Tensor

from hainan_k2.files.container import Kind, is_container, read_container, write_container
from hainan_k2.fsa.language.arpa import MAX_ORDER, read_arpa
from hainan_k2.fsa.language.lookahead_lm import Encode, LookaheadLm, spell_words
from hainan_k2.fsa.language.ngram import NgramLm, OpenVocabulary, build_lm, vocabulary_of
from hainan_k2.fsa.language.quantise import NUM_CODES, quantised
from hainan_k2.result import WORD_START

KIND = Kind("token language model", "hainan-prune-lm")  # also of those over words
Lm = Union[NgramLm, LookaheadLm]
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


def read_lm(path: Union[str, Path], symbols: Sequence[str], encode: Optional[Encode] = None) -> Lm:
    """The LM of an ARPA file, plain or gzipped, or of a file of `write_lm`.

    With `encode` the ARPA file may be over words: it is if none of its words has the tokens' mark of a word's start.

    Args:
      symbols: the tokens; the index of one is its id.
      encode: the token ids of a word.
    Raises:
      ValueError: in one line with the file, for what is neither, is damaged, or is a model of other tokens.
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    if not is_container(head):
        return NgramLm.read(str(path), symbols) if encode is None else _read_either(str(path), symbols, encode)
    tensors, facts = read_container(path, KIND)
    if facts.get("symbols") != _fingerprint(symbols):
        raise ValueError(f"{path} is a language model over other tokens than the {len(symbols)} of this tokenizer")
    try:
        lm = _unpacked(tensors, facts, symbols)
        return _respelled(lm, tensors, symbols) if "spelled" in tensors else lm
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{path} does not hold a back-off automaton: {' '.join(str(error).split())[:200]}") from None


def write_lm(path: Union[str, Path], lm: Lm, symbols: Sequence[str]) -> None:
    """Write an LM over the tokens `symbols`, its probabilities and back-off weights rounded to 256 values each."""
    if isinstance(lm, LookaheadLm):
        tensors, facts = _packed(lm.lm, symbols)
        words, spellings = list(lm.spellings), list(lm.spellings.values())
        tensors["spelled"] = torch.tensor(words, dtype=torch.int32)
        tensors["lengths"] = _narrow(torch.tensor([len(ids) for ids in spellings]))
        tensors["spellings"] = _narrow(torch.tensor([id for ids in spellings for id in ids]))
    else:
        tensors, facts = _packed(lm, symbols)
    write_container(path, KIND, tensors, facts)


def _read_either(path: str, symbols: Sequence[str], encode: Encode) -> Lm:
    """The LM of an ARPA file over tokens or words."""
    vocabulary = OpenVocabulary(vocabulary_of(symbols))
    num_tokens = len(vocabulary)
    sections = read_arpa(path, vocabulary)
    if len(vocabulary) == num_tokens:
        return build_lm(path, sections, symbols, vocabulary)
    names = {number: word for word, number in vocabulary.items()}
    unigrams = sections[0].words[:, 0].tolist()
    marked = any(WORD_START in names[word].decode(errors="replace") for word in unigrams)
    if marked or not any(WORD_START in symbol for symbol in symbols):
        return NgramLm.read(path, symbols)  # which refuses words that are no tokens
    specials = {vocabulary[name] for name in (b"<s>", b"</s>", b"<unk>")}
    texts: dict[int, str] = {}
    for word, line in zip(unigrams, sections[0].lines.tolist()):
        if word not in specials:
            try:
                texts[word] = names[word].decode()
            except UnicodeDecodeError:
                raise ValueError(f"{path}:{line}: {names[word]!r} is not UTF-8 text") from None
    lm = build_lm(path, sections, symbols, vocabulary)
    spellings, left_out = spell_words(texts, lm.log_probs.tolist(), symbols, encode)
    try:
        return LookaheadLm.of(lm, vocabulary[b"<unk>"], spellings, symbols, left_out)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _respelled(lm: NgramLm, tensors: Mapping[str, Tensor], symbols: Sequence[str]) -> LookaheadLm:
    """The LM over words of a file. Raises ValueError, or what a wrong type raises, for what is none."""
    words, lengths, ids = (tensors[name].long() for name in ("spelled", "lengths", "spellings"))
    fits = words.dim() == 1 and words.shape == lengths.shape and ids.dim() == 1
    _require(fits and bool((lengths > 0).all()) and int(lengths.sum()) == len(ids), "its spellings do not fit")
    _require(len(words.unique()) == len(words), "it has a word with two spellings")
    flat, ends = ids.tolist(), lengths.cumsum(0).tolist()
    spelled = (tuple(flat[end - length : end]) for end, length in zip(ends, lengths.tolist()))
    return LookaheadLm.of(lm, vocabulary_of(symbols)[b"<unk>"], dict(zip(words.tolist(), spelled)), symbols)


def _packed(lm: NgramLm, symbols: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts of the module's docstring."""
    keys = lm.keys[:-1].cpu()
    log_prob_values, log_probs = quantised(lm.log_probs[:-1].cpu())
    backoff_values, backoffs = quantised(lm.backoff_log_probs.cpu())
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
    return tensors, facts


def _fingerprint(symbols: Sequence[str]) -> str:
    """What two lists of tokens have in common only if they are equal."""
    return hashlib.sha256("\n".join(symbols).encode()).hexdigest()


def _narrow(values: Tensor) -> Tensor:
    return values.to(torch.int16 if int(values.max()) < 2**15 else torch.int32)


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
    wanted = (states, count, count, count, NUM_CODES, states, states, NUM_CODES, len(symbols))
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
