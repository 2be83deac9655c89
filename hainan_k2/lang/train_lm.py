"""Trains an n-gram language model on texts: Kneser-Ney smoothing by kaldingram, written as ARPA.

    hainan-train-lm --text train.txt --exclude test.txt --lang-dir data/lang_bpe_128 --arpa tokens.arpa
    hainan-train-lm --text train.txt --exclude test.txt --order 3 --arpa words.arpa

With --lang-dir the model is over the pieces of the tokenizer, for `decode.py --lm`; without, it is over words, for
hainan-arpa-to-fst. Unigrams are discounted too and the mass is spread over the vocabulary, so that every piece of the
tokenizer, and every word of --words, has a probability.
"""

from __future__ import annotations

import importlib.util
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Optional

from hainan_k2.cli import fail, parse, start_logging
from hainan_k2.config import option
from hainan_k2.files.atomic import atomic_text
from hainan_k2.fsa.language.lexicon import NO_WORDS, read_words
from hainan_k2.lang.texts import read_texts
from hainan_k2.text import Normalisation, Tokenizer

BOS, EOS = "<s>", "</s>"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LmConfig:
    arpa: str = option("", "file to write (required)")
    text: tuple[str, ...] = option((), "text files, one sentence per line, separated by commas")
    cuts: tuple[str, ...] = option((), "cut manifests to take text from, separated by commas")
    exclude: tuple[str, ...] = option((), "text files with sentences to leave out, such as those of the test sets")
    exclude_cuts: tuple[str, ...] = option((), "cut manifests with sentences to leave out")
    order: int = option(3, "longest n-gram", at_least=1, at_most=20)
    lang_dir: str = option("", "folder with bpe.model: train on pieces instead of words")
    words: str = option("", "words.txt of hainan-make-lexicon: words outside the text that get a probability too")
    normalise: str = option(
        "",
        "what is done to texts: english, german ..., lower, none, module:function; default: as the tokenizer does, "
        "else english",
    )


def split(texts: Iterable[str], config: LmConfig, tokenizer: Optional[Tokenizer]) -> tuple[list[list[str]], list[str]]:
    """The sentences as lists of symbols, pieces or words, and the vocabulary of --lang-dir or --words."""
    if tokenizer is not None:
        return [[tokenizer.pieces[i] for i in tokenizer.encode(text)] for text in texts], tokenizer.pieces[1:]
    known = read_words(Path(config.words)) if config.words else ()
    return [text.split() for text in texts], [word for word in known if word not in NO_WORDS]


def train_lm(sentences: Iterable[Sequence[str]], order: int, vocabulary: Iterable[str]) -> Any:
    """A kaldingram NgramCounts with the probabilities of a Kneser-Ney model.

    Args:
      sentences: lists of symbols.
      vocabulary: symbols that get a unigram probability even if no sentence has them.
    Raises:
      ValueError: if the sentences are too few or too similar to estimate a discount.
    """
    if importlib.util.find_spec("kaldingram") is None:
        raise ValueError("kaldingram is not installed: pip install hainan_k2[lm]")
    import kaldingram.train
    from tqdm import tqdm

    kaldingram.train.tqdm = partial(tqdm, disable=True)  # kaldingram shows a progress bar for each of its loops
    counts = kaldingram.train.NgramCounts(order, bos_symbol=BOS, eos_symbol=EOS)
    for sentence in sentences:
        counts.add_raw_counts_from_line(" ".join(sentence))
    counts.cal_discounting_constants()
    for n, discount in enumerate(counts.d, 1):
        if discount >= 1:
            raise ValueError(
                f"no {n}-gram of the text occurs exactly twice, so the probability of unseen ones cannot be "
                f"estimated: give more text or --order {n - 1}"
            )
    counts.cal_f()
    _spread(counts.counts[0][()], order, vocabulary)
    counts.cal_bow()
    _complete_backoffs(counts)
    return counts


def _spread(unigrams: Any, order: int, vocabulary: Iterable[str]) -> None:
    """Discounts the unigrams and spreads the mass evenly over all symbols."""
    seen = {
        symbol: count if order == 1 else len(unigrams.word_to_context[symbol])
        for symbol, count in unigrams.word_to_count.items()
        if symbol != BOS
    }
    times = Counter(seen.values())
    discount = times[1] / (times[1] + 2 * times[2]) if times[1] and times[2] else 0.5
    every, total = sorted({*seen, *vocabulary}), sum(seen.values())
    unigrams.word_to_f[BOS] = 0.0  # it follows nothing
    for symbol in every:
        unigrams.word_to_count[symbol] += 0
        kept = max(0.0, seen.get(symbol, 0) - discount)
        unigrams.word_to_f[symbol] = (kept + discount * len(seen) / len(every)) / total


def _complete_backoffs(counts: Any) -> None:
    """Sets the back-off weight of histories that every symbol follows, to the mass that is left for unseen symbols.

    kaldingram gives such a history no weight, or a quotient of two rounding errors.
    """
    for n, histories in enumerate(counts.counts[:-1]):
        for history, here in histories.items():
            for word, weight in here.word_to_bow.items():
                after = counts.counts[n + 1].get((*history, word))
                if after is not None and word != EOS and (weight is None or weight > 1e6):
                    here.word_to_bow[word] = max(1e-9, 1.0 - sum(after.word_to_f.values()))


def main(argv: Optional[Sequence[str]] = None) -> None:
    start_logging()
    (config,) = parse(argv, __doc__.split("\n")[0], LmConfig)
    if not config.arpa or not (config.text or config.cuts) or config.order < 1:
        fail("give --arpa, --text or --cuts, and --order above 0")
    try:
        tokenizer = Tokenizer(config.lang_dir) if config.lang_dir else None
        if tokenizer and config.normalise not in ("", tokenizer.normalisation):
            raise ValueError(
                f"--normalise {config.normalise}: the tokenizer of {config.lang_dir} has {tokenizer.normalisation}"
            )
        normal_form = tokenizer.normalise if tokenizer else Normalisation(config.normalise or "english")
        excluded = set(read_texts(config.exclude_cuts, config.exclude, normal_form))
        texts = list(read_texts(config.cuts, config.text, normal_form))
        kept = [text for text in texts if text not in excluded]
        if not kept:
            raise ValueError(f"no text to train on: {len(texts)} sentences, {len(texts)} of them excluded")
        sentences, vocabulary = split(kept, config, tokenizer)
        counts = train_lm(sentences, config.order, vocabulary)
        with atomic_text(config.arpa) as stream:
            counts.print_as_arpa(stream)
    except (ValueError, OSError) as error:
        fail(str(error))
    logger.info("%d sentences, %d of them left out because they are in --exclude", len(texts), len(texts) - len(kept))
    logger.info(
        "%s: %d symbols, %d distinct ones and %d more in the vocabulary; n-grams: %s",
        config.arpa,
        sum(map(len, sentences)),
        len({symbol for sentence in sentences for symbol in sentence}),
        len(set(vocabulary) - {symbol for sentence in sentences for symbol in sentence}),
        ", ".join(f"{n}: {sum(len(h.word_to_f) for h in order.values())}" for n, order in enumerate(counts.counts, 1)),
    )


if __name__ == "__main__":
    main()
