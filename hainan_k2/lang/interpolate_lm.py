"""Interpolates token-level ARPA language models into one.

    hainan-interpolate-lm --arpa wide.arpa,domain.arpa --tune dev.txt --lang-dir lang_bpe_500 --out mix.arpa

Interpolate models of different texts rather than train one on all texts together, where the larger text would dominate.
Weights are given, or tuned on a text that is in neither the training nor the test data.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from hainan_k2.cli import fail, parse, start_logging
from hainan_k2.config import option
from hainan_k2.files.atomic import atomic_text
from hainan_k2.fsa.language.arpa import read_arpa, write_arpa
from hainan_k2.fsa.language.interpolation import interpolate, tune_weights
from hainan_k2.fsa.language.ngram import NgramLm, vocabulary_of
from hainan_k2.lang.texts import read_texts
from hainan_k2.text import Tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InterpolationConfig:
    arpa: tuple[str, ...] = option((), "token-level ARPA files, separated by commas (required)")
    weights: tuple[float, ...] = option((), "weights of the models, with sum 1", at_least=0, at_most=1)
    tune: str = option("", "text to tune the weights on, one sentence per line")
    tune_cuts: str = option("", "cut manifest with texts to tune the weights on")
    lang_dir: str = option("", "folder with bpe.model (required)")
    out: str = option("", "ARPA file to write (required)")


def main(argv: Optional[Sequence[str]] = None) -> None:
    start_logging()
    (config,) = parse(argv, __doc__.split("\n")[0], InterpolationConfig)
    tuned = bool(config.tune or config.tune_cuts)
    if len(config.arpa) < 2 or not config.out or not config.lang_dir or tuned == bool(config.weights):
        fail("give --arpa with two files or more, --lang-dir, --out, and either --weights or --tune or --tune-cuts")
    try:
        tokenizer = Tokenizer(config.lang_dir)
        models = [NgramLm.read(path, tokenizer.pieces) for path in config.arpa]
        weights = list(config.weights)
        if tuned:
            cuts, files = ([name] if name else [] for name in (config.tune_cuts, config.tune))
            texts = read_texts(cuts, files, tokenizer.normalise)
            weights = tune_weights(models, [tokenizer.encode(text) for text in texts]).tolist()
        vocabulary = vocabulary_of(tokenizer.pieces)
        sections = interpolate(models, [read_arpa(path, vocabulary) for path in config.arpa], weights)
        symbols = {number: word.decode() for word, number in reversed(vocabulary.items())}
        with atomic_text(config.out) as stream:
            write_arpa(stream, sections, symbols)
    except (ValueError, OSError) as error:
        fail(str(error))
    logger.info(
        "%s: %s; n-grams: %s",
        config.out,
        ", ".join(f"{weight:.3f} {path}" for weight, path in zip(weights, config.arpa)),
        ", ".join(f"{n}: {len(section.words)}" for n, section in enumerate(sections, 1)),
    )


if __name__ == "__main__":
    main()
