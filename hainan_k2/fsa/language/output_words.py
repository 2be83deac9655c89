"""The output words of a path, with the tokens that they stand for, in the form of Hypothesis.output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hainan_k2.fsa.language.grammar import GLUE


def output_words(ids: Sequence[int], outputs: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    """The words of a path through a grammar as (word, first token, end token).

    The words of an output span the tokens from the arc that carries it up to the next output, which may be empty. An
    output that ends in @@ is joined with the next one.

    Args:
      ids: for every token of the path the output id of its arc, 0 for none.
      outputs: index = output id.
    """
    spans: list[_Span] = []
    for position, output in enumerate(ids):
        if output > 0:
            spans.append(_Span(outputs[output], position))
        if spans:
            spans[-1].end = position + 1
    return tuple(_words(spans))


def graph_words(ids: Sequence[int], words: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    """The words of a path through a word graph, where a word is on the arc of its last token.

    ids: for every token of the path the word id of its arc, 0 for none; words: index = word id.
    """
    output, first = [], 0
    for position, word in enumerate(ids, 1):
        if word > 0:
            output.append((words[word], first, position))
            first = position
    return tuple(output)


def words_by_start(texts: Sequence[str], starts: Sequence[bool]) -> tuple[tuple[str, int, int], ...]:
    """The words of a path whose outputs are not where the words end, as (word, first token, end token).

    There is a word for every token that starts one, in most graphs. Where there is not, a word has the tokens from its
    output up to the next one.

    Args:
      texts: the output of every token of the path, and of its end; "" for none. One may be several words.
      starts: for every token whether it starts a word.
    """
    words, first = " ".join(texts).split(), [position for position, start in enumerate(starts) if start]
    if len(words) == len(first):
        return tuple(zip(words, first, [*first[1:], len(starts)]))
    outputs = [*texts[:-2], " ".join(texts[-2:])] if starts else []
    return output_words([position if text.strip() else 0 for position, text in enumerate(outputs, 1)], ["", *outputs])


@dataclass
class _Span:
    """An output and its tokens [first, end) within the path."""

    text: str
    first: int
    end: int = 0


def _words(spans: Sequence[_Span]) -> list[tuple[str, int, int]]:
    """The words of outputs of any number of words each; the words of one output have the same span."""
    words: list[tuple[str, int, int]] = []
    glued = False
    for span in spans:
        for word in span.text.split():
            if glued:
                text, first, _ = words.pop()
                words.append((text[: -len(GLUE)] + word, first, span.end))
            else:
                words.append((word, span.first, span.end))
            glued = word.endswith(GLUE)
    if glued:
        text, first, end = words.pop()
        words.append((text[: -len(GLUE)], first, end))
    return words
