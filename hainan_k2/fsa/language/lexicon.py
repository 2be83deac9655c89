"""Words spelled in tokens: the symbol table words.txt, the lexicon, and its transducer L.

words.txt names the words' ids as Kaldi does: `<eps>` is 0, then the words, then `#0`, `<s>`, `</s>`. lexicon.txt has
a line `word piece piece ...` for every spelling. In lexicon_disambig.txt a spelling that another word shares, or
that begins a longer one, ends in `#1`, `#2` ..., so that L composed with any deterministic word graph can be
determinized. `#0` is what word graphs have on back-off arcs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hainan_k2.fsa.k2 import load_k2
from hainan_k2.fsa.language.spelling import is_silent

EPSILON, BACKOFF, BLANK_NAME = "<eps>", "#0", "<blk>"


@dataclass(frozen=True)
class Lexicon:
    """words: the symbol table, index = id. spellings: (word id, token ids) in ascending order, without repeats."""

    words: tuple[str, ...]
    spellings: tuple[tuple[int, tuple[int, ...]], ...]

    @property
    def backoff(self) -> int:
        """The id of #0."""
        return self.words.index(BACKOFF)

    def epsilons(self) -> list[int]:
        """The ids that are epsilons in a word graph: <eps>, #0, and those of #1, <s>, !SIL ... without a spelling."""
        spelled = {word for word, _ in self.spellings}
        return [
            word
            for word, name in enumerate(self.words)
            if word == 0 or name == BACKOFF or is_silent(name) and word not in spelled
        ]

    def disambiguated(self, first: int) -> list[tuple[int, tuple[int, ...]]]:
        """The spellings, with the id first + k at the end of those that need the disambiguation symbol #k, k >= 1."""
        every = Counter(pieces for _, pieces in self.spellings)
        prefixes = {pieces[:n] for pieces in every for n in range(1, len(pieces))}
        used: Counter = Counter()
        result = []
        for word, pieces in self.spellings:
            if every[pieces] > 1 or pieces in prefixes:
                used[pieces] += 1
                pieces = (*pieces, first + used[pieces])
            result.append((word, pieces))
        return result


def make_lexicon(words: Iterable[str], tokenizer) -> tuple[Lexicon, list[str]]:
    """The lexicon of distinct words, each spelled by a tokenizer.Tokenizer, and the words that it cannot spell.

    Those are in the symbol table, but have no spelling. ValueError where there is no word.
    """
    table = sorted(set(words))
    if not table:
        raise ValueError("no words to make a lexicon of: the text is empty")
    unknown = tokenizer.pieces.index("<unk>")
    spelled = [(word, tuple(tokenizer.encode(name))) for word, name in enumerate(table, 1)]
    known = tuple((word, pieces) for word, pieces in spelled if pieces and unknown not in pieces)
    missing = set(range(1, len(table) + 1)) - {word for word, _ in known}
    return Lexicon((EPSILON, *table, BACKOFF, "<s>", "</s>"), known), [table[word - 1] for word in sorted(missing)]


def write_lexicon(lexicon: Lexicon, pieces: Sequence[str], folder: Path) -> None:
    """Writes words.txt, lexicon.txt and lexicon_disambig.txt. `pieces` are the tokens, index = id."""

    def lines(spellings: Iterable[tuple[int, tuple[int, ...]]]) -> str:
        names = [*pieces, *(f"#{k}" for k in range(len(lexicon.spellings) + 1))]
        return "".join(f"{lexicon.words[word]} {' '.join(names[i] for i in ids)}\n" for word, ids in spellings)

    folder.mkdir(parents=True, exist_ok=True)
    table = "".join(f"{word} {i}\n" for i, word in enumerate(lexicon.words))
    (folder / "words.txt").write_text(table, encoding="utf-8")
    (folder / "lexicon.txt").write_text(lines(lexicon.spellings), encoding="utf-8")
    (folder / "lexicon_disambig.txt").write_text(lines(lexicon.disambiguated(len(pieces))), encoding="utf-8")


def read_words(path: Path) -> tuple[str, ...]:
    """The symbols of a words.txt, index = id. ValueError "FILE:LINE: ..." unless it has the form described above.

    To a tokens.txt, which begins with `<blk>`, `#0`, `<s>` and `</s>` are added.
    """
    words: list[str] = []
    for number, line in enumerate(_read(path).split("\n"), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or fields[1] != str(len(words)):
            raise ValueError(f"{path}:{number}: should be a word and its id {len(words)}, ids ascend from 0")
        words.append(fields[0])
    repeated = [word for word, count in Counter(words).items() if count > 1]
    if repeated:
        raise ValueError(f"{path}: {repeated[0]!r} is in it twice")
    if words[:1] == [BLANK_NAME]:
        words += [BACKOFF, "<s>", "</s>"]
    elif words[:1] != [EPSILON] or not {BACKOFF, "<s>", "</s>"} <= set(words):
        raise ValueError(
            f"{path}: should begin with `{EPSILON} 0` and hold {BACKOFF}, <s> and </s>: make it with "
            "`hainan-make-lexicon`"
        )
    return tuple(words)


def read_lexicon(folder: Path, pieces: Sequence[str]) -> Lexicon:
    """The lexicon of a folder's words.txt and lexicon.txt; a word may have several spellings.

    ValueError "FILE:LINE: ..." for a line that names no word of words.txt, or no tokens but `pieces`, blank excluded.
    """
    words = read_words(folder / "words.txt")
    word_ids = {word: i for i, word in enumerate(words)}
    piece_ids = {piece: i for i, piece in enumerate(pieces) if i}
    spellings = set()
    path = folder / "lexicon.txt"
    for number, line in enumerate(_read(path).split("\n"), 1):
        word, *spelling = line.split() or [""]
        if not word:
            continue
        if word not in word_ids:
            raise ValueError(f"{path}:{number}: word {word!r} is not in {folder / 'words.txt'}")
        if not spelling:
            raise ValueError(f"{path}:{number}: word {word!r} has no spelling")
        wrong = [piece for piece in spelling if piece not in piece_ids]
        if wrong:
            raise ValueError(f"{path}:{number}: {wrong[0]!r} is not a token of the model")
        spellings.add((word_ids[word], tuple(piece_ids[piece] for piece in spelling)))
    if not spellings:
        raise ValueError(f"{path}: no word has a spelling")
    return Lexicon(words, tuple(sorted(spellings)))


def lexicon_fst(lexicon: Lexicon, vocab_size: int):
    """L, the closure of all words: a k2.Fsa from tokens (labels) to words (aux_labels), arc-sorted.

        (0) --- first token : word ---> (n) --- token : epsilon ---> ... --- last token : epsilon ---> (0)
        (0) --- #0 : #0 ---> (0)
        (0) --- -1 : -1 ---> (final)

    A word of one token is a loop at state 0. #k has label vocab_size + k; spellings are those of `disambiguated`.
    """
    k2 = load_k2()
    arcs = [(0, 0, vocab_size, lexicon.backoff)]
    state = 0
    for word, pieces in lexicon.disambiguated(vocab_size):
        path = [0, *range(state + 1, state + len(pieces)), 0]
        state += len(pieces) - 1
        outputs = [word, *[0] * (len(pieces) - 1)]
        arcs += zip(path, path[1:], pieces, outputs)
    arcs.append((0, state + 1, -1, -1))
    table = torch.tensor(sorted(arcs, key=lambda arc: arc[0]), dtype=torch.int32)
    fsa = k2.Fsa(torch.cat([table[:, :3], torch.zeros_like(table[:, :1])], dim=1), table[:, 3].contiguous())
    return k2.arc_sort(fsa)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"no {path}: make it with `hainan-make-lexicon`") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 at byte {error.start}") from None
