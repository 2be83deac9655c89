"""References of language models and of the search with them: dictionaries, one word and one path at a time."""

from __future__ import annotations

import math
import random
from collections import defaultdict

from hypothesis import strategies as st

SYMBOLS = ("<blk>", "<unk>", "▁a", "b", "▁c", "d", "e")
WORDS = [*SYMBOLS[1:], "</s>"]


class DictionaryLm:
    """{n-gram of strings: (log10 probability, log10 back-off weight)} of an ARPA file."""

    def __init__(self, ngrams):
        self.ngrams = ngrams
        self.order = max(map(len, ngrams))

    @classmethod
    def read(cls, path):
        ngrams, order = {}, 0
        for line in open(path, encoding="utf-8"):
            fields = line.split()
            if line.startswith("\\"):
                order = int(line[1]) if line[1].isdigit() else 0
            elif order and fields:
                ngrams[tuple(fields[1 : order + 1])] = (float(fields[0]), float([*fields, 0][order + 1]))
        return cls(ngrams)

    def write(self, path, drop_useless=False):
        """Write an ARPA file. `drop_useless` leaves out back-off weights of 0 that no longer n-gram needs."""
        needed = {ngram[:-1] for ngram in self.ngrams}
        lines = ["\\data\\"]
        sections = [[k for k in self.ngrams if len(k) == n + 1] for n in range(self.order)]
        lines += [f"ngram {n}={len(section)}" for n, section in enumerate(sections, 1)]
        for n, section in enumerate(sections, 1):
            lines += ["", f"\\{n}-grams:"]
            for ngram in section:
                log_prob, backoff = self.ngrams[ngram]
                bare = n == self.order or drop_useless and backoff == 0 and ngram not in needed
                lines.append("\t".join([str(log_prob), " ".join(ngram)] + [str(backoff)] * (not bare)))
        path.write_text("\n".join([*lines, "", "\\end\\", ""]), encoding="utf-8")
        return str(path)

    def log_prob(self, history, word):
        """log P(word | history), strings, natural."""
        history = tuple(history)[max(0, len(history) - self.order + 1) :]
        if (word,) not in self.ngrams:
            word = "<unk>"
            if (word,) not in self.ngrams:
                return -math.inf
        history = tuple(w if (w,) in self.ngrams else "<unk>" for w in history)
        paid = 0.0
        while (*history, word) not in self.ngrams:
            paid += self.ngrams.get(history, (0.0, 0.0))[1]
            history = history[1:]
        return math.log(10.0) * (paid + self.ngrams[(*history, word)][0])

    def after(self, history, word):
        """The part of history and word that the next word can depend on."""
        return (*history, word)[max(0, len(history) + 2 - self.order) :]

    def final(self, history):
        return self.log_prob(history, "</s>") if ("</s>",) in self.ngrams else -math.inf

    def score(self, words):
        """Log-probability of a sentence, natural."""
        history, total = ("<s>",), 0.0
        for word in words:
            total += self.log_prob(history, word)
            history += (word,)
        return total + self.final(history)


@st.composite
def language_models(draw, symbols=SYMBOLS, max_order=4, complete=False):
    """A random DictionaryLm. Suffixes of n-grams may be missing, as after pruning.

    With `complete`, every token, or <unk>, and the end have a probability.
    """
    number = st.floats(-3.0, 0.0).map(lambda x: round(x, 4))
    weight = st.one_of(st.just(0.0), st.floats(-2.0, 0.5).map(lambda x: round(x, 4)))
    words = draw(st.sets(st.sampled_from(symbols[1:]), min_size=1))
    words = sorted(words | set(symbols[2:])) if complete and "<unk>" not in words else sorted(words)
    level = [("<s>",)] + [(w,) for w in words]
    ends = [("</s>",)] if complete or draw(st.integers(0, 4)) else []
    ngrams = {ngram: (draw(number), draw(weight)) for ngram in level + ends}
    for _ in range(draw(st.integers(0, max_order - 1))):
        longer = [(*history, word) for history in level for word in [*words, *(e[0] for e in ends)]]
        level = draw(st.lists(st.sampled_from(longer), min_size=1, max_size=8, unique=True))
        ngrams.update({ngram: (draw(number), draw(weight)) for ngram in level})
        level = [ngram for ngram in level if ngram[-1] != "</s>"]
        if not level:
            break
    order = max(map(len, ngrams))
    return DictionaryLm({k: (p, 0.0 if len(k) == order or k[-1] == "</s>" else b) for k, (p, b) in ngrams.items()})


def small_lm(seed, order=3):
    """A back-off model whose every history adds up to 1: random n-grams, absolute probabilities, computed weights."""
    rng = random.Random(seed)
    chosen = {()}  # histories with followers
    for _ in range(order - 1):
        chosen |= {
            (*h, w)
            for h in sorted(chosen)
            if len(h) < order - 1
            for w in [*SYMBOLS[2:], *(["<s>"] if not h else [])]
            if rng.random() < 0.5
        }
    chosen = {h for h in chosen if all(h[i:] in chosen and h[:i] in chosen for i in range(len(h) + 1))}
    probabilities = {}
    for history in sorted(chosen, key=len):
        followers = (
            WORDS if not history else [w for w in WORDS if (*history[1:], w) in probabilities and rng.random() < 0.5]
        )
        if history and len(followers) == len(WORDS):
            followers.pop()  # where every word follows, nothing is kept to back off to
        parts = [rng.uniform(0.1, 1) for _ in followers]
        kept = 1.0 if not history else rng.uniform(0.3, 0.9)
        probabilities.update({(*history, w): kept * part / sum(parts) for w, part in zip(followers, parts)})
    return arpa_of(probabilities)


def arpa_of(probabilities):
    """A DictionaryLm of {n-gram: probability}, its back-off weights such that every history adds up to 1."""
    probabilities = {**probabilities, ("<s>",): 1e-99}
    lm = DictionaryLm({ngram: (math.log10(p), 0.0) for ngram, p in probabilities.items()})
    for history in sorted({ngram[:-1] for ngram in probabilities if len(ngram) > 1}, key=len):
        followers = [ngram[-1] for ngram in probabilities if ngram[:-1] == history and ngram[-1] != "<s>"]
        taken = sum(probabilities[(*history, w)] for w in followers)
        below = sum(math.exp(lm.log_prob(history[1:], w)) for w in followers)
        if history not in lm.ngrams:
            for w in followers:
                del lm.ngrams[(*history, w)]
        else:
            lm.ngrams[history] = (lm.ngrams[history][0], math.log10((1 - taken) / (1 - below)))
    lm.order = max(map(len, lm.ngrams))
    return lm


def lm_paths(paths, lms, symbols=SYMBOLS):
    """Paths ([(id, frame)], log-probability) with every (LM, weight) of `lms` added, word by word."""
    for path, total in paths:
        for lm, weight in lms:
            history = ("<s>",)
            for token, _ in path:
                total += weigh(lm.log_prob(history, symbols[token]), weight)
                history += (symbols[token],)
            total += weigh(lm.final(history), weight)
        yield path, total


def weigh(score, weight):
    """A negative weight subtracts nothing where the score is -inf; a weight of 0 leaves the LM out."""
    return 0.0 if weight == 0 or weight < 0 and score == -math.inf else weight * score


def token_passing(token_rows, duration_rows, durations, lms, symbols=SYMBOLS, bonus=0.0, penalty=0.0, scale=1.0):
    """Best path of the lattice composed with the LMs -> [(id, frame, duration)], score; None where there is none.

    One token per frame and last words, passed from frame to frame.
    """
    length = len(token_rows)
    start = tuple(("<s>",) for _ in lms)
    best = [defaultdict(lambda: (-math.inf, None)) for _ in range(length + 1)]
    best[0][start] = (0.0, ())
    for time in range(length):
        for histories, (score, path) in best[time].items():
            for token, token_lp in enumerate(token_rows[time]):
                paid, after = token_lp - penalty, histories
                if token:
                    paid = token_lp + bonus
                    for (lm, weight), history in zip(lms, histories):
                        paid += weigh(lm.log_prob(history, symbols[token]), weight)
                    after = tuple(lm.after(h, symbols[token]) for (lm, _), h in zip(lms, histories))
                for duration, duration_lp in zip(durations, duration_rows[time]):
                    landing = min(length, time + max(1, duration))
                    new = score + paid + scale * duration_lp
                    if new > best[landing][after][0]:
                        best[landing][after] = (new, path + ((token, time, duration),) * (token != 0))
    ends = [
        (score + sum(weigh(lm.final(h), weight) for (lm, weight), h in zip(lms, histories)), path)
        for histories, (score, path) in best[length].items()
    ]
    score, path = max(ends, key=lambda end: end[0])
    return None if score == -math.inf else (list(path), score)
