"""G, a back-off n-gram model as an acceptor over word ids, as Kaldi's arpa2fst makes it.

The states are the histories of the model that have arcs of their own; the start is the history <s>.

    (h) --- w : log P(w | h) ---> (longest state that ends h w)          for every n-gram h w of the file
    (h) --- #0 : log backoff(h) ---> (longest state that ends h, shorter than h)
    (h) final with log P(</s> | h)                                       where h </s> is an n-gram

Unlike the failure arcs of NgramLm, the #0 arcs are epsilons: a path may back off although h w is an n-gram. A history
that nothing follows is no state; its back-off weight is on the arcs that would lead to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Union

import numpy as np

from hainan_k2.fsa.language.acceptor import Acceptor
from hainan_k2.fsa.language.arpa import Ngrams, read_arpa
from hainan_k2.fsa.language.lexicon import BACKOFF
from hainan_k2.fsa.language.ngram import NgramLm, build_lm, vocabulary_of

BOS, EOS = "<s>", "</s>"


def read_arpa_acceptor(path: Union[str, Path], words: Sequence[str]) -> Acceptor:
    """G of an ARPA file, plain or gzipped.

    N-grams of <unk>, where the symbol table has no <unk>, are left out, as are those that have <s> behind or </s>
    before another word.

    Args:
      path: the ARPA file; its log10 probabilities become natural logarithms.
      words: the symbol table, index = id; `<eps>`, or another name of epsilon, is 0, and `#0` is in it.
    Raises:
      ValueError: "FILE:LINE: ..." for what is not an ARPA file of these words, "FILE: ..." where no sentence can end.
    """
    ids = [id for id, word in enumerate(words) if id and word not in (BOS, EOS, BACKOFF)]
    symbols = [words[id] for id in ids]
    vocabulary = vocabulary_of(symbols)
    sections = [_usable(section, len(symbols)) for section in read_arpa(str(path), vocabulary)]
    acceptor = ngram_acceptor(build_lm(str(path), sections, symbols, vocabulary), ids, list(words).index(BACKOFF))
    if not np.isfinite(acceptor.final).any():
        raise ValueError(f"{path}: no final state: the file has no n-gram that ends with {EOS}")
    return acceptor


def _usable(section: Ngrams, num_symbols: int) -> Ngrams:
    """The n-grams of the words that can be in a sentence, numbered below `num_symbols`, and of <s> first, </s> last."""
    bos, eos = num_symbols, num_symbols + 1  # as vocabulary_of numbers them
    words = section.words
    good = (words[:, 1:] != bos).all(axis=1) & (words[:, :-1] != eos).all(axis=1) & (words <= eos).all(axis=1)
    kept = section[good]
    return replace(kept, backoffs=np.where(kept.words[:, -1] == eos, math.nan, kept.backoffs))


def ngram_acceptor(lm: NgramLm, ids: Sequence[int], backoff: int) -> Acceptor:
    """G of a language model.

    Args:
      lm: on the CPU.
      ids: of each symbol of `lm`, the label it has in G.
      backoff: the label of back-off arcs.
    """
    keys = lm.keys[:-1].numpy()
    source, word = keys // lm.num_words, keys % lm.num_words
    target, score = lm.next_states[:-1].numpy(), lm.log_probs[:-1].double().numpy()
    final = np.full(lm.num_states, -math.inf)
    ends = word == lm.end_word
    final[source[ends]] = score[ends]
    usual = np.isfinite(score) & (word < len(ids))  # neither <s> nor </s>, nor a word without unigram
    source, target, word, score = (column[usual] for column in (source, target, word, score))

    lower, weight = lm.backoff_states.numpy(), lm.backoff_log_probs.double().numpy()
    kept = np.isfinite(final) | (np.bincount(source, minlength=lm.num_states) > 0)
    kept[[0, lm.start]] = True
    reached, paid = np.arange(lm.num_states), np.zeros(lm.num_states)  # where an arc into a state leads, and its score
    while not kept[reached].all():
        (passed,) = (~kept[reached]).nonzero()
        paid[passed] += weight[reached[passed]]
        reached[passed] = lower[reached[passed]]

    (histories,) = kept.nonzero()
    backing_off = histories[histories > 0]
    histories = np.append(lm.start, histories[histories != lm.start])
    number = np.full(lm.num_states, -1)
    number[histories] = np.arange(len(histories))
    return Acceptor(
        source=number[np.concatenate([source, backing_off])],
        target=number[reached[np.concatenate([target, lower[backing_off]])]],
        label=np.concatenate([np.asarray(ids, dtype=np.int64)[word], np.full(len(backing_off), backoff)]),
        score=np.concatenate([score + paid[target], weight[backing_off] + paid[lower[backing_off]]]),
        final=final[histories],
    )
