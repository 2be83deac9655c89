"""Interpolates token-level ARPA language models into one.

    hainan-interpolate-lm --arpa wide.arpa,domain.arpa --tune dev.txt --lang-dir lang_bpe_500 --out mix.arpa

Models of different texts are better interpolated than trained on the texts pooled, where the larger one drowns the
other. Weights are given, or tuned on a text that is neither of training nor of test.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from hainan_k2.config import fail, option, parse
from hainan_k2.files.atomic import atomic_text
from hainan_k2.fsa.language.arpa import read_arpa
from hainan_k2.fsa.language.interpolation import interpolate, tune_weights, write_arpa
from hainan_k2.fsa.language.ngram import NgramLm, vocabulary_of
from hainan_k2.lang.texts import read_texts
from hainan_k2.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class InterpolationConfig:
    arpa: tuple[str, ...] = option((), "ARPA files over the pieces of --lang-dir, commas between")
    weights: tuple[float, ...] = option((), "their weights, adding up to 1", at_least=0, at_most=1)
    tune: str = option("", "text to tune the weights on, one sentence a line")
    tune_cuts: str = option("", "cut manifest whose texts the weights are tuned on")
    lang_dir: str = option("", "folder with bpe.model")
    out: str = option("", "ARPA file to write")


def main(argv: Optional[Sequence[str]] = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    (config,) = parse(argv, __doc__.split("\n")[0], InterpolationConfig)
    tuned = bool(config.tune or config.tune_cuts)
    if len(config.arpa) < 2 or not config.out or not config.lang_dir or tuned == bool(config.weights):
        fail("give --arpa with two files or more, --lang-dir, --out, and either --weights or --tune or --tune-cuts")
    try:
        tokenizer = Tokenizer(config.lang_dir)
        models = [NgramLm.read(path, tokenizer.pieces) for path in config.arpa]
        weights = list(config.weights)
        if tuned:
            texts = read_texts([config.tune_cuts] if config.tune_cuts else [], [config.tune] if config.tune else [])
            weights = tune_weights(models, [tokenizer.encode(text) for text in texts]).tolist()
        vocabulary = vocabulary_of(tokenizer.pieces)
        sections = interpolate(models, [read_arpa(path, vocabulary) for path in config.arpa], weights)
        symbols = {number: word.decode() for word, number in reversed(vocabulary.items())}
        with atomic_text(config.out) as stream:
            write_arpa(stream, sections, symbols)
    except (ValueError, OSError) as error:
        fail(str(error))
    logging.info(
        "%s: %s; n-grams: %s",
        config.out,
        ", ".join(f"{weight:.3f} {path}" for weight, path in zip(weights, config.arpa)),
        ", ".join(f"{n}: {len(section.words)}" for n, section in enumerate(sections, 1)),
    )


if __name__ == "__main__":
    main()
