r"""The ARPA file of a back-off n-gram language model as arrays, read and written.

    \data\              An entry is a log10 probability, n words and a log10 back-off weight. Entries of the
    ngram 1=4           highest order have no weight; others need one only if a longer n-gram begins with them.
    ngram 2=2

    \1-grams:
    -99   <s>  -0.30
    -0.48 a    -0.12
    ...
    \end\
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

import numpy as np

MAX_ORDER = 20
_ROUNDING = 1e-3  # a log10 probability may be this much above 0
_LOWEST = -1000.0  # of log10 probabilities and back-off weights: SRILM's and KenLM's log of 0 is -99
_HIGHEST_BACKOFF = 10.0  # a weight of 1e10; larger ones are errors


@dataclass(frozen=True)
class Ngrams:
    """The N n-grams of one order; natural logarithms."""

    words: np.ndarray  # (N, n) int64
    log_probs: np.ndarray  # (N,) float64
    backoffs: np.ndarray  # (N,) float64, nan where the file has none
    lines: np.ndarray  # (N,) int64: line of the file, from 1

    def __getitem__(self, rows: np.ndarray) -> Ngrams:
        return Ngrams(self.words[rows], self.log_probs[rows], self.backoffs[rows], self.lines[rows])


def read_arpa(path: str, vocabulary: Mapping[bytes, int]) -> list[Ngrams]:
    """The n-grams of an ARPA file, plain or gzipped: one Ngrams per order, unigrams first.

    Args:
      vocabulary: the id of every word that may occur, UTF-8.
    Raises:
      ValueError: "FILE:LINE: ..." for what is not an ARPA file of these words, of order MAX_ORDER at most.
    """
    lines = _read_lines(path)
    start = next((i for i, line in enumerate(lines) if line.strip() == b"\\data\\"), None)
    if start is None:
        raise ValueError(f"{path}:1: no \\data\\ line, so this is not an ARPA file")
    titles = [i for i in range(start + 1, len(lines)) if lines[i].startswith(b"\\")]
    titles.append(len(lines))
    counts = _read_counts(path, lines, start + 1, titles[0])
    sections = []
    for n, count in enumerate(counts, 1):
        _expect(path, lines, titles[n - 1], f"\\{n}-grams:")
        entries = [i for i in range(titles[n - 1] + 1, titles[n]) if lines[i].strip()]
        if len(entries) != count:
            raise ValueError(f"{path}:{titles[n - 1] + 1}: {len(entries)} {n}-grams follow, the header says {count}")
        sections.append(_read_section(path, lines, entries, n, n == len(counts), vocabulary))
        if n == len(counts):
            _expect(path, lines, titles[n], "\\end\\")
        if not count and n < max(2, len(counts)):
            raise ValueError(f"{path}:{titles[n - 1] + 1}: no {n}-grams: only the highest order may be empty")
    return sections


def write_arpa(stream: TextIO, sections: Sequence[Ngrams], symbols: Mapping[int, str]) -> None:
    """Write n-grams as an ARPA file, with 6 decimals.

    Args:
      sections: the n-grams of each order, unigrams first.
      symbols: {word id: word}.
    """
    log10 = math.log(10.0)
    stream.write("\\data\\\n" + "".join(f"ngram {n}={len(s.words)}\n" for n, s in enumerate(sections, 1)))
    for n, section in enumerate(sections, 1):
        stream.write(f"\n\\{n}-grams:\n")
        for words, log_prob, backoff in zip(section.words, section.log_probs / log10, section.backoffs / log10):
            weight = "" if math.isnan(backoff) else f"\t{backoff:.6f}"
            stream.write(f"{log_prob:.6f}\t{' '.join(symbols[w] for w in words)}{weight}\n")
    stream.write("\n\\end\\\n")


def _read_lines(path: str) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            data = file.read()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not data or data.isspace():
        raise ValueError(f"{path}:1: the file is empty")
    return data.splitlines()


def _expect(path: str, lines: Sequence[bytes], at: int, title: str) -> None:
    if at == len(lines):
        raise ValueError(f"{path}:{at}: the file ends before {title}")
    if lines[at].strip() != title.encode():
        raise ValueError(f"{path}:{at + 1}: expected {title}, got {_show(lines[at])}")


def _read_counts(path: str, lines: Sequence[bytes], first: int, last: int) -> list[int]:
    """The number of n-grams of every order, from the header."""
    counts: list[int] = []
    for i in range(first, last):
        match = re.fullmatch(rb"\s*ngram\s+(\d{1,9})\s*=\s*(\d{1,18})\s*", lines[i])
        if match and int(match[1]) == len(counts) + 1:
            counts.append(int(match[2]))
            if len(counts) > MAX_ORDER:
                raise ValueError(f"{path}:{i + 1}: {len(counts)}-grams: models of order {MAX_ORDER} at most are read")
        elif lines[i].strip():
            raise ValueError(f"{path}:{i + 1}: expected 'ngram {len(counts) + 1}=COUNT', got {_show(lines[i])}")
    if not counts:
        raise ValueError(f"{path}:{first}: no line 'ngram 1=COUNT' follows \\data\\")
    return counts


def _read_section(
    path: str,
    lines: Sequence[bytes],
    entries: Sequence[int],
    n: int,
    highest: bool,
    vocabulary: Mapping[bytes, int],
) -> Ngrams:
    words, log_probs, backoffs = array("q"), array("d"), array("d")
    for i in entries:
        row = lines[i].split(None, n + 2)  # so that a line of millions of words costs no memory
        try:
            words.extend([vocabulary[word] for word in row[1 : n + 1]])
            log_probs.append(float(row[0]))
            backoffs.append(float(row[n + 1]) if len(row) > n + 1 else math.nan)
            good = n + 1 <= len(row) <= n + 2 and _LOWEST <= log_probs[-1] <= _ROUNDING
            good = good and (
                len(row) == n + 1 or _LOWEST <= backoffs[-1] <= _HIGHEST_BACKOFF and not (highest and backoffs[-1])
            )
        except (KeyError, ValueError):
            good = False
        if not good:
            raise ValueError(f"{path}:{i + 1}: {_complaint(row, n, vocabulary)}")
    table = np.frombuffer(words, np.int64) if words else np.empty(0, np.int64)
    natural = [np.array(column, np.float64) * math.log(10.0) for column in (log_probs, backoffs)]
    return Ngrams(table.reshape(-1, n), natural[0], natural[1], np.array(entries, np.int64) + 1)


def _complaint(row: Sequence[bytes], n: int, vocabulary: Mapping[bytes, int]) -> str:
    """The message for a wrong entry."""
    if not n + 1 <= len(row) <= n + 2:
        shown = _show(b" ".join(field[:80] for field in row))
        return f"{shown} is not an entry of {n} words: a log-probability, words, a back-off weight"
    for word in row[1 : n + 1]:
        if word not in vocabulary:
            return f"{_show(word)} is not a token of the model: is this a word-level LM, or of other tokens?"
    for name, text in zip(("log-probability", "back-off weight"), (row[0], *row[n + 1 :])):
        try:
            finite = math.isfinite(float(text))
        except ValueError:
            finite = False
        if not finite:
            return f"{name} {_show(text)} is not a finite number"
    if float(row[0]) > _ROUNDING:
        return f"log-probability {_show(row[0])} is above 0"
    if min(float(row[0]), *map(float, row[n + 1 :])) < _LOWEST:
        return f"{_show(row[-1] if float(row[0]) >= _LOWEST else row[0])} is below {_LOWEST:g}, the log of 0 is -99"
    if len(row) == n + 2 and float(row[-1]) > _HIGHEST_BACKOFF:
        return f"back-off weight {_show(row[-1])} is above {_HIGHEST_BACKOFF:g}"
    return f"back-off weight {_show(row[-1])} of an {n}-gram, the highest order, can never be used"


def _show(text: bytes) -> str:
    """Bytes in an error message: quoted, in one short line."""
    words = repr(text[:400].decode("utf-8", errors="replace").strip())
    return words if len(words) <= 80 else f"{words[:77]}..."
