"""The text that grows on a terminal, read back from a terminal that is 30 lines long."""

import io
import json
import re
from textwrap import wrap

from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.inference.live import LiveText, columns_of, show
from hainan_k2.inference.streaming import Update
from hainan_k2.result import Word


class Terminal:
    """Rows of characters, each with whether it is dim; knows the sequences that are used, and refuses all others."""

    def __init__(self, columns):
        self.columns, self.rows, self.y, self.x, self.dim = columns, [[]], 0, 0, False

    def write(self, text):
        for part in re.findall(r"\x1b\[\d*[A-Za-z]|.", text, flags=re.S):
            if part == "\r":
                self.x = 0
            elif part == "\n":
                self.y, self.x = self.y + 1, 0
                self.rows += [[]] * (self.y == len(self.rows))
            elif part == "\x1b[J":
                self.rows[self.y :] = [self.rows[self.y][: self.x]]
            elif part in ("\x1b[2m", "\x1b[0m"):
                self.dim = part == "\x1b[2m"
            elif re.fullmatch(r"\x1b\[\d+A", part):
                self.y -= int(part[2:-1])
                assert self.y >= 0
            else:
                assert part.isprintable() and self.x < self.columns - 1
                self.rows[self.y][self.x :] = [(part, self.dim)]
                self.x += 1

    def lines(self, dim=True):
        """The text of every row, with or without what is dim."""
        return ["".join(c for c, is_dim in row if dim or not is_dim).rstrip() for row in self.rows]


def update(words, partial="", endpoint=False):
    return Update(0.0, tuple(Word(word, 0.0, 0.1, 1.0) for word in words), partial, endpoint)


texts = st.lists(st.text("abc", min_size=1, max_size=9), max_size=12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(texts, texts, st.booleans()), max_size=8), st.integers(11, 30))
def test_the_screen_shows_all_words_and_the_last_partial_ones(updates, columns):
    terminal, live, before, final = Terminal(columns), LiveText(lambda: (columns, 100)), [], []
    for words, partial, endpoint in updates:
        partial = [] if endpoint else partial
        terminal.write(live.accept(update(words, " ".join(partial), endpoint)))
        final += words
        rows = wrap(" ".join(final + partial), columns - 1)
        assert terminal.lines() == before + (rows + [""] * endpoint or [""])
        plain = "".join("".join(terminal.lines(dim=False)[len(before) :]).split())
        assert plain == "".join(final)
        if endpoint:
            before, final = before + rows, []
    terminal.write(live.end())
    assert not terminal.rows[-1] and not terminal.dim


def test_words_longer_than_a_row_and_wide_characters():
    terminal, live = Terminal(6), LiveText(lambda: (6, 100))
    terminal.write(live.accept(update(["ab", "abcdefghijkl"], "xy")))
    assert terminal.lines() == ["ab", "abcde", "fghij", "kl xy"] and terminal.lines(dim=False)[3] == "kl"
    assert columns_of("海南 e\u0301") == 6
    assert LiveText(lambda: (6, 100)).accept(update(["海南海南"])).split("\n")[1:] == ["海南"]


def test_rows_that_left_the_screen_are_not_written_again():
    live = LiveText(lambda: (11, 4))
    live.accept(update([], " ".join(["abcdefghi"] * 9)))
    assert live.accept(update(["a"], "b")).startswith("\x1b[2A\r\x1b[J")


def test_a_word_cannot_control_the_terminal():
    shown = LiveText(lambda: (80, 24)).accept(update(["a\x1b]0;title\x07"], "b\x1b[2J"))
    assert "a\\x1b]0;title\\x07" in shown and "b\\x1b[2J" in shown and "\x07" not in shown


UPDATES = [update(["and"], "so"), update(["so"], "", endpoint=True), update([], "my"), update(["my"])]


def shown(monkeypatch, updates, terminal, kind="xterm"):
    """What `show` writes of updates to a file, or to a terminal of a kind."""
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", kind)
    try:
        show(updates, out)
    except KeyboardInterrupt:
        assert terminal
    return out.getvalue()


def test_lines_of_json_and_a_terminal(monkeypatch):
    written = shown(monkeypatch, UPDATES, terminal=False)
    lines = [json.loads(line) for line in written.splitlines()]
    assert [line["partial"] for line in lines] == ["so", "", "my", ""]
    assert [[word["text"] for word in line["words"]] for line in lines] == [["and"], ["so"], [], ["my"]]
    assert [line["endpoint"] for line in lines] == [False, True, False, False]
    assert all(line.keys() == {"seconds", "words", "partial", "endpoint"} for line in lines)
    terminal = Terminal(80)
    terminal.write(shown(monkeypatch, UPDATES, terminal=True))
    assert terminal.lines() == ["and so", "my", ""]
    assert shown(monkeypatch, UPDATES, terminal=True, kind="dumb") == written


def test_an_interrupted_stream_leaves_its_row(monkeypatch):
    def interrupted():
        yield update([], "and so")
        raise KeyboardInterrupt

    assert shown(monkeypatch, interrupted(), terminal=True).endswith("and so\x1b[0m\n")
