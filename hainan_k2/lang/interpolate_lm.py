"""Interpolates ARPA language models over tokens, or over words, into one.

    hainan-interpolate-lm --arpa wide.arpa,domain.arpa --tune dev.txt --lang-dir lang_bpe_500 --out mix.arpa
    hainan-interpolate-lm --arpa wide.arpa,domain.arpa --tune dev.txt --words words.txt --out mix.arpa

Interpolate models of different texts rather than train one on all texts together, where the larger text would dominate.
Weights are given, or tuned on a text that is in neither the training nor the test data.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from hainan_k2.cli import fail, parse, start_logging
from hainan_k2.config import first_names, option
from hainan_k2.files.atomic import atomic_text
from hainan_k2.fsa.language.arpa import read_arpa, write_arpa
from hainan_k2.fsa.language.interpolation import interpolate, tune_weights
from hainan_k2.fsa.language.lexicon import EPSILON, NO_WORDS, read_words
from hainan_k2.fsa.language.lookahead_lm import Encode
from hainan_k2.fsa.language.ngram import NgramLm, vocabulary_of
from hainan_k2.lang.texts import read_texts
from hainan_k2.text import Normalisation, Tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InterpolationConfig:
    arpa: tuple[str, ...] = option((), "ARPA files, separated by commas (required)")
    weights: tuple[float, ...] = option((), "weights of the models, with sum 1", at_least=0, at_most=1)
    tune: str = option("", "text to tune the weights on, one sentence per line")
    tune_cuts: str = option("", "cut manifest with texts to tune the weights on")
    lang_dir: str = option("", "folder with bpe.model, for models over tokens")
    words: str = option("", "words.txt of hainan-make-lexicon, for models over words; it has all words of the files")
    normalise: str = option(
        "",
        "what is done to texts with --words: english, german ..., lower, none, module:function; default: english",
    )
    out: str = option("", "ARPA file to write (required)")


def main(argv: Optional[Sequence[str]] = None) -> None:
    start_logging()
    (config,) = parse(argv, __doc__.split("\n")[0], InterpolationConfig)
    tuned = bool(config.tune or config.tune_cuts)
    if len(config.arpa) < 2 or not config.out or tuned == bool(config.weights):
        fail("give --arpa with two files or more, --out, and either --weights or --tune or --tune-cuts")
    if bool(config.lang_dir) == bool(config.words):
        fail("give --lang-dir for models over tokens, or --words for models over words")
    try:
        symbols = _Symbols.of(config)
        models = [NgramLm.read(path, symbols.names) for path in config.arpa]
        weights = list(config.weights)
        if tuned:
            cuts, files = ([name] if name else [] for name in (config.tune_cuts, config.tune))
            sentences = [symbols.encode(text) for text in read_texts(cuts, files, symbols.normalise)]
            weights = tune_weights(models, sentences).tolist()
        vocabulary = vocabulary_of(symbols.names)
        sections = interpolate(models, [read_arpa(path, vocabulary) for path in config.arpa], weights)
        names = {number: word.decode() for word, number in reversed(vocabulary.items())}
        with atomic_text(config.out) as stream:
            write_arpa(stream, sections, names)
    except (ValueError, OSError) as error:
        fail(str(error))
    if symbols.left_out:
        logger.warning(
            "%d words of the text that weights are tuned on are not in %s and left out (%s)",
            sum(symbols.left_out.values()),
            config.words,
            first_names(list(symbols.left_out)),
        )
    logger.info(
        "%s: %s; n-grams: %s",
        config.out,
        ", ".join(f"{weight:.3f} {path}" for weight, path in zip(weights, config.arpa)),
        ", ".join(f"{n}: {len(section.words)}" for n, section in enumerate(sections, 1)),
    )


@dataclass(frozen=True)
class _Symbols:
    """What the models are over, how texts become their numbers, and the words of texts that are left out."""

    names: Sequence[str]
    encode: Encode
    normalise: Callable[[str], str]
    left_out: dict[str, int] = field(default_factory=dict)  # and how often

    @classmethod
    def of(cls, config: InterpolationConfig) -> _Symbols:
        if config.lang_dir:
            tokenizer = Tokenizer(config.lang_dir)
            return cls(tokenizer.pieces, tokenizer.encode, tokenizer.normalise)
        names = [EPSILON, *(word for word in read_words(Path(config.words)) if word not in NO_WORDS)]
        number, left_out = {word: i for i, word in enumerate(names)}, Counter[str]()

        def encode(text: str) -> list[int]:
            left_out.update(word for word in text.split() if word not in number)
            return [number[word] for word in text.split() if word in number]

        return cls(names, encode, Normalisation(config.normalise or "english"), left_out)


if __name__ == "__main__":
    main()
