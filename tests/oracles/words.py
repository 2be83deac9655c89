"""Language models over words, read word by word from tokens."""

import math

from tests.oracles.lm import DictionaryLm


class Spelling:
    """Words as tokens: {word: token ids}, and the V tokens of which those with the mark ▁ start a word."""

    def __init__(self, spelled, pieces):
        self.spelled = {word: tuple(ids) for word, ids in spelled.items()}
        self.starts = [piece.startswith("▁") for piece in pieces]
        self.per_token = -math.log(len(pieces) - 1)

    def words(self, ids):
        """The words of token ids: (text or None, its tokens) of each."""
        parts = []
        for id in ids:
            if self.starts[id] or not parts:
                parts.append(())
            parts[-1] += (id,)
        names = {ids: word for word, ids in self.spelled.items()}
        return [(names.get(part), part) for part in parts]

    def known(self, lm, word):
        return word is not None and (word,) in lm.ngrams

    def score(self, lm, ids):
        """log P of a sentence under a DictionaryLm over words; unknown words cost their tokens too."""
        words = self.words(ids)
        unknown = sum(len(part) for word, part in words if not self.known(lm, word))
        return lm.score([word or "<unk>" for word, _ in words]) + self.per_token * unknown

    def with_unknown(self, lm):
        """The DictionaryLm with <unk>: where it has none, as probable as the least probable word."""
        if ("<unk>",) in lm.ngrams:
            return lm
        least = min(lm.ngrams[(word,)][0] for word in self.spelled if (word,) in lm.ngrams)
        return DictionaryLm({**lm.ngrams, ("<unk>",): (least, 0.0)})
