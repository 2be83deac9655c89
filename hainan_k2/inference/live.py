"""What is recognised of a stream, as it is written: lines of JSON for programs, a text that grows for people."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import TextIO
from unicodedata import combining, east_asian_width

from hainan_k2.files.text_tables import printable
from hainan_k2.inference.streaming import Update

DIM, PLAIN, CLEAR = "\x1b[2m", "\x1b[0m", "\r\x1b[J"  # CLEAR: from the beginning of the row to the end of the screen
Size = Callable[[], tuple[int, int]]
Row = list[tuple[str, bool]]  # words, each with whether it is final


def columns_of(text: str) -> int:
    """Columns of a terminal that a text takes.

    >>> columns_of("ab"), columns_of("海南"), columns_of("e\\u0301")
    (2, 4, 1)
    """
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def pieces_of(word: str, width: int) -> Iterator[str]:
    """A word in pieces of at most `width` columns: one piece, if it fits."""
    piece = ""
    for character in word:
        if piece and columns_of(piece + character) > width:
            yield piece
            piece = ""
        piece += character
    yield piece


def wrapped(words: Row, width: int) -> list[Row]:
    """Words in rows of at most `width` columns, one space between two words. There is at least one row."""
    rows: list[Row] = [[]]
    used = 0
    for word, final in words:
        for piece in pieces_of(word, width):
            size = columns_of(piece)
            if rows[-1] and used + 1 + size > width:
                rows.append([])
            used = used + 1 + size if rows[-1] else size
            rows[-1].append((piece, final))
    return rows


class LiveText:
    """The text of a stream on a terminal: final words, then the unfinished ones, dimmed until the next update.

    Rows are wrapped at the terminal's width. The row of the last final word, and those below, are written again by the
    next update. A new row begins after an end point.

    size: returns the columns and rows of the terminal; every update asks it.
    """

    def __init__(self, size: Size):
        self.size = size
        self.row: Row = []  # final words of the last row
        self.above = 0  # rows above the cursor that the next update writes again
        self.begun = False  # whether the cursor's row has text

    def accept(self, update: Update) -> str:
        """The characters and control sequences that show an update."""
        columns, height = self.size()
        width = max(2, columns - 1)  # terminals differ in what follows a character in the last column
        final = [(printable(word.text), True) for word in update.words]
        unfinished = [(printable(word), False) for word in update.partial.split()]
        rows = wrapped([*self.row, *final, *unfinished], width)
        changing = max((n for n, row in enumerate(rows) if any(final for _, final in row)), default=0)
        shown = rows[changing:][-max(1, height - 1) :]  # the cursor cannot go back to rows that have left the screen
        back = f"\x1b[{self.above}A" if self.above else ""
        self.row = [(word, final) for word, final in rows[changing] if final]
        self.above, self.begun = len(shown) - 1, bool(shown[-1])
        text = back + CLEAR + "\n".join(map(painted, rows[:changing] + shown))
        return text + self.end() if update.endpoint else text

    def end(self) -> str:
        """The characters that begin a new row, if there is something in this one."""
        begun = self.begun
        self.row, self.above, self.begun = [], 0, False
        return "\n" if begun else ""


def painted(row: Row) -> str:
    """A row for the terminal: its final words, and the others dimmed."""
    final, unfinished = (" ".join(word for word, is_final in row if is_final == kind) for kind in (True, False))
    space = " " if final and unfinished else ""
    return final + space + (f"{DIM}{unfinished}{PLAIN}" if unfinished else "")


def show(updates: Iterable[Update], out: TextIO) -> None:
    """Write every update: as a line of JSON; on a terminal, as text that grows."""
    if not out.isatty() or os.environ.get("TERM") == "dumb":
        for update in updates:
            out.write(json.dumps(asdict(update), ensure_ascii=False) + "\n")
            out.flush()
        return
    text = LiveText(shutil.get_terminal_size)
    try:
        for update in updates:
            out.write(text.accept(update))
            out.flush()
    finally:
        out.write(text.end())
