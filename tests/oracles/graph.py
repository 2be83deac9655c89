"""References of word graphs: random ARPA files, all their paths for a sentence, all readings of a token sequence."""

from __future__ import annotations

import math
import random
from itertools import product

import pytest

from tests.oracles.search import nar_paths

BOS, EOS = "<s>", "</s>"


def random_ngrams(seed, words, order):
    """{n-gram: (natural log-probability, back-off weight or None)}, not normalised: an automaton takes any weights."""
    rng = random.Random(seed)
    ngrams = {(word,): rng.uniform(-4.0, -0.5) for word in [*words, EOS]}
    ngrams[BOS,] = -90.0
    for n in range(2, order + 1):
        histories = [h for h in ngrams if len(h) == n - 1 and h[-1] != EOS]
        for history, word in product(histories, [*words, EOS]):
            if history[1:] + (word,) in ngrams and rng.random() < 0.4:
                ngrams[history + (word,)] = rng.uniform(-3.0, -0.1)
    begun = {(BOS,), *(ngram[:-1] for ngram in ngrams)}
    weights = {ngram: rng.uniform(-1.5, 0.5) if order > 1 else 0.0 for ngram in ngrams if ngram in begun}
    return {ngram: (score, weights.get(ngram)) for ngram, score in ngrams.items()}


def arpa_text(ngrams):
    order = max(map(len, ngrams))
    sections = [[(gram, *values) for gram, values in ngrams.items() if len(gram) == n] for n in range(1, order + 1)]
    lines = ["\\data\\", *(f"ngram {n}={len(section)}" for n, section in enumerate(sections, 1)), ""]
    for n, section in enumerate(sections, 1):
        lines.append(f"\\{n}-grams:")
        for gram, score, backoff in section:
            weight = "" if backoff is None or n == order else f"\t{backoff / math.log(10):.7f}"
            lines.append(f"{score / math.log(10):.7f}\t{' '.join(gram)}{weight}")
        lines.append("")
    return "\n".join([*lines, "\\end\\", ""])


def steps(ngrams, history, word):
    """Every path for `word` after a history, with any number of back-offs: (log-probability, next history)."""
    if history + (word,) in ngrams:
        following = history + (word,)
        while following and ngrams.get(following, (0.0, None))[1] is None:
            following = following[1:]
        yield ngrams[history + (word,)][0], following
    if history:
        for score, following in steps(ngrams, history[1:], word):
            yield ngrams[history][1] + score, following


def best_way(ngrams, words, history=(BOS,)):
    """The best score of a sentence over all of its paths."""
    word, *rest = [*words, EOS]
    ways = [
        score + (best_way(ngrams, words[1:], following) if rest else 0.0)
        for score, following in steps(ngrams, history, word)
    ]
    return max(ways, default=-math.inf)


def readings(tokens, spellings):
    """Every word sequence for the tokens, as (word, position after it); spellings: pairs (word, tokens)."""
    if not tokens:
        yield []
    for word, spelling in spellings:
        if tokens[: len(spelling)] == spelling:
            for rest in readings(tokens[len(spelling) :], spellings):
                yield [(word, len(spelling))] + [(w, n + len(spelling)) for w, n in rest]


def best_path(token_rows, duration_rows, durations, spellings, ngrams, lm_scale):
    """(score, tokens, words) of the best path of the decoding lattice over a sentence of the LM."""
    texts = best_texts(nar_paths(token_rows, duration_rows, durations), spellings, ngrams, lm_scale)
    return texts[0] if texts else (-math.inf, None, None)


def best_texts(paths, spellings, ngrams, lm_scale):
    """[(score, tokens, words)] of the best path of every text that is a sentence of the LM, the best first.

    paths: ([(id, frame, ...)], log-probability).
    """
    acoustic = {}
    for path, score in paths:
        tokens = tuple(token for token, *_ in path)
        acoustic[tokens] = max(score, acoustic.get(tokens, -math.inf))
    texts = []
    for tokens, score in acoustic.items():
        scored = [(best_way(ngrams, [w for w, _ in r]), [w for w, _ in r]) for r in readings(tokens, spellings)]
        lm_score, words = max(scored, default=(-math.inf, None))
        if lm_score > -math.inf:
            texts.append((score + lm_scale * lm_score, tokens, words))
    return sorted(texts, key=lambda text: -text[0])


def as_probable(found, words, ngrams):
    """Whether two word sequences are the same, or equally probable: x y and y x are for a unigram."""
    return found == words or best_way(ngrams, found) == pytest.approx(best_way(ngrams, words), abs=1e-9)


def assert_words(hypothesis, words, spelled, ngrams):
    """The words of a hypothesis spell its tokens and are those expected, or as probable."""
    ends = [0, *(end for _, _, end in hypothesis.output)]
    assert [first for _, first, _ in hypothesis.output] == ends[:-1] and ends[-1] == len(hypothesis.tokens)
    assert all((word, hypothesis.ids[first:end]) in spelled for word, first, end in hypothesis.output)
    assert as_probable([word for word, _, _ in hypothesis.output], words, ngrams)
