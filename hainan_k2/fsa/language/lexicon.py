"""The lexicon: words and their spellings in tokens, its files, and its transducer L.

words.txt is a symbol table in Kaldi's form: `<eps>` is 0, then come `<UNK>`, as icefall names the unknown word, the
words, `#0`, `<s>`, `</s>`. lexicon.txt has a line `word piece piece ...` for every spelling. In lexicon_disambig.txt a
spelling that is also that of another word, or the beginning of a longer one, ends in `#1`, `#2` ..., so that L composed
with a deterministic word graph can be determinized. `#0` is the label of back-off arcs in word graphs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hainan_k2.files.atomic import write_atomic
from hainan_k2.fsa.k2 import Fsa, load_k2
from hainan_k2.fsa.language.spelling import UNKNOWN, Vocabulary, is_epsilon
from hainan_k2.result import WORD_START

EPSILON, BACKOFF, BLANK_NAME = "<eps>", "#0", "<blk>"
UNKNOWN_WORD = "<UNK>"
NO_WORDS = (EPSILON, UNKNOWN_WORD, BACKOFF, "<s>", "</s>")  # the symbols of words.txt that no text has


@dataclass(frozen=True)
class Lexicon:
    """Words and spellings.

    words: the symbol table, index = id. spellings: (word id, token ids), ascending, without repeats; a word may have
    several, or none.
    """

    words: tuple[str, ...]
    spellings: tuple[tuple[int, tuple[int, ...]], ...]

    @property
    def backoff(self) -> int:
        """The id of #0."""
        return self.words.index(BACKOFF)

    def epsilons(self) -> list[int]:
        """The word ids that are epsilons in a word graph: <eps>, #0, and #1, <s>, !SIL ... if they have no spelling."""
        spelled = {word for word, _ in self.spellings}
        return [
            word
            for word, name in enumerate(self.words)
            if word == 0 or name == BACKOFF or is_epsilon(name) and word not in spelled
        ]

    def disambiguated(self, first: int) -> list[tuple[int, tuple[int, ...]]]:
        """The spellings; those that need a disambiguation symbol #k, k >= 1, have the id first + k at the end."""
        every = Counter(pieces for _, pieces in self.spellings)
        prefixes = {pieces[:n] for pieces in every for n in range(1, len(pieces))}
        used: Counter[tuple[int, ...]] = Counter()
        result = []
        for word, pieces in self.spellings:
            if every[pieces] > 1 or pieces in prefixes:
                used[pieces] += 1
                pieces = (*pieces, first + used[pieces])
            result.append((word, pieces))
        return result


def make_lexicon(words: Iterable[str], tokenizer: Vocabulary) -> tuple[Lexicon, list[str]]:
    """The lexicon of the distinct words of `words`, and the words that the tokenizer cannot spell.

    Words that cannot be spelled are in the symbol table, but have no spelling. The unknown word is spelled as the
    unknown token behind the token "▁". ValueError if there is no word.
    """
    table = sorted(set(words) - set(NO_WORDS))
    if not table:
        raise ValueError("no words to make a lexicon of: the text is empty")
    unknown = tokenizer.pieces.index(UNKNOWN)
    spelled = [(word, tuple(tokenizer.encode(name))) for word, name in enumerate(table, 2)]
    known = tuple((word, pieces) for word, pieces in spelled if pieces and unknown not in pieces)
    missing = set(range(2, len(table) + 2)) - {word for word, _ in known}
    start = (tokenizer.pieces.index(WORD_START),) if WORD_START in tokenizer.pieces else ()
    symbols = (EPSILON, UNKNOWN_WORD, *table, BACKOFF, "<s>", "</s>")
    return Lexicon(symbols, ((1, (*start, unknown)), *known)), [symbols[word] for word in sorted(missing)]


def write_lexicon(lexicon: Lexicon, pieces: Sequence[str], folder: Path) -> None:
    """Write words.txt, lexicon.txt and lexicon_disambig.txt. `pieces` are the tokens, index = id."""

    def lines(spellings: Iterable[tuple[int, tuple[int, ...]]]) -> str:
        names = [*pieces, *(f"#{k}" for k in range(len(lexicon.spellings) + 1))]
        return "".join(f"{lexicon.words[word]} {' '.join(names[i] for i in ids)}\n" for word, ids in spellings)

    folder.mkdir(parents=True, exist_ok=True)
    table = "".join(f"{word} {i}\n" for i, word in enumerate(lexicon.words))
    write_atomic(folder / "words.txt", table)
    write_atomic(folder / "lexicon.txt", lines(lexicon.spellings))
    write_atomic(folder / "lexicon_disambig.txt", lines(lexicon.disambiguated(len(pieces))))


def read_words(path: Path) -> tuple[str, ...]:
    """The symbols of a words.txt, index = id; of a tokens.txt, which begins with `<blk>`, with #0, <s>, </s> behind it.

    A tokens.txt of icefall has disambiguation symbols #0, #1 ... already.

    Raises:
      ValueError: "FILE:LINE: ..." for a line that is not `symbol id` with the next id, "FILE: ..." for a table without
        <eps>, #0, <s> or </s>.
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
        words += [symbol for symbol in (BACKOFF, "<s>", "</s>") if symbol not in words]
    elif words[:1] != [EPSILON] or not {BACKOFF, "<s>", "</s>"} <= set(words):
        raise ValueError(
            f"{path}: should begin with `{EPSILON} 0` and hold {BACKOFF}, <s> and </s>: make it with "
            "`hainan-make-lexicon`"
        )
    return tuple(words)


def read_lexicon(folder: Path, pieces: Sequence[str]) -> Lexicon:
    """The lexicon of the words.txt and lexicon.txt of a folder.

    Raises:
      ValueError: "FILE:LINE: ..." for a word that is not in words.txt, a spelling that has other tokens than `pieces`,
        or none; the blank, id 0, is not one of them.
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


def token_table(lexicon: Lexicon, pieces: Sequence[str]) -> str:
    """A tokens.txt with the disambiguation symbols of the lexicon behind the tokens, as icefall has it."""
    most = max(ids[-1] for _, ids in lexicon.disambiguated(len(pieces)))
    names = [*pieces, *(f"#{k}" for k in range(max(0, most - len(pieces)) + 1))]
    return "".join(f"{name} {i}\n" for i, name in enumerate(names))


def lexicon_fst(lexicon: Lexicon, vocab_size: int, disambiguate: bool = True) -> Fsa:
    """L, the closure of all words: a k2.Fsa from tokens (labels) to words (aux_labels), arc-sorted.

        (0) --- first token : word ---> (n) --- token : epsilon ---> ... --- last token : epsilon ---> (0)
        (0) --- #0 : #0 ---> (0)
        (0) --- -1 : -1 ---> (final)

    State 0 is the start. A word of one token is a loop at state 0. Spellings end in their disambiguation symbols, of
    which #k has the label vocab_size + k. Without `disambiguate` there are no such symbols, nor the loop of #0.
    """
    import torch

    k2 = load_k2()
    arcs = [(0, 0, vocab_size, lexicon.backoff)] if disambiguate else []
    state = 0
    for word, pieces in lexicon.disambiguated(vocab_size) if disambiguate else lexicon.spellings:
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
