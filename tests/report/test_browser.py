"""The page in a real browser: it is drawn, at every width, and it never runs recognised text."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import image

from hainan_k2.search import METHODS
from tests.report import picture
from tests.report.pages import evil_page, page_of
from tests.toy import ROOT


def test_twenty_utterances_are_drawn(show, twenty):
    tab = show(twenty)
    tab.wait("document.querySelectorAll('.playhead').length === 3")  # as many are open when the page loads
    assert tab.count("details.utterance") == 20 and tab.count("audio") == 3
    picture = tab.picture()
    assert picture[..., :3].std() > 0.05 and len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 100

    tab.evaluate("[...document.querySelectorAll('button')].find((b) => b.textContent === 'open all').click()")
    tab.wait("document.querySelectorAll('.playhead').length === 20")
    each = {
        "audio": 1,
        ".peaks path": 1,
        ".spectrogram img": 1,
        ".spectrogram .mark": 3,
        ".span.token": 3,
        ".span.word": 3,
        ".node": 4,
        ".edge": 3,
        ".paths tbody tr": 2,
        "td.sub": 1,
        "td.del": 1,
    }
    assert {what: tab.count(f"details.utterance {what}") for what in each} == {w: 20 * n for w, n in each.items()}
    assert tab.logged == []


def test_the_summary_is_drawn(show, twenty):
    tab = show(twenty)
    assert tab.count(".reliability") == 2
    footer = tab.evaluate("document.querySelector('main').lastElementChild.innerText")
    assert all(value in footer for pair in twenty.origin for value in pair)
    titles = tab.evaluate("[...document.querySelectorAll('abbr')].map((name) => [name.innerText, name.title])")
    assert titles and all(METHODS[name].description == title for name, title in titles)
    rows = tab.evaluate("[...document.querySelectorAll('table.numbers tbody tr')].map((r) => r.innerText)")
    assert len(rows) == 2 and all(name in row for name, row in zip(twenty.labels, rows))
    assert "0.00" in rows[0] and "66.67" in rows[1]  # one of three words is substituted, one deleted
    assert tab.logged == []


def test_a_narrow_window_needs_no_horizontal_scrolling(show, twenty):
    tab = show(twenty)
    tab.resize(420, 900)
    tab.wait("innerWidth === 420 && document.querySelectorAll('.playhead').length === 3")
    assert tab.evaluate("document.documentElement.scrollWidth") == 420
    assert tab.evaluate("document.querySelector('.transcript').getBoundingClientRect().top") < 900
    recognised = "document.querySelector('.utterance:not([open]) .recognised')"  # on a line of its own
    assert tab.evaluate(f"{recognised}.getBoundingClientRect().width") > 350
    assert tab.count(".mel") == 3 * 4
    assert tab.logged == []


def test_no_page_needs_horizontal_scrolling(show):
    labels = ("ar-greedy", "nar-greedy", "sar", "viterbi", "ar-beam", "viterbi-lm lm_scale=0.3 token_bonus=2")
    long = " ".join(["the cat sat"] * 20)
    utterances = [(f"{'folder' * 20}/{i}", long, *[long] * 5, "cat") for i in range(3)]
    speakers = {name: "speaker" * (30 if i else 1) for i, (name, *_) in enumerate(utterances)}
    one = page_of(("a", "the cat", "cat"), labels=("sar",))
    six = page_of(*utterances, labels=labels, speakers=speakers, origin=(("command", "x" * 300),))
    for page in (one, six, replace(six, references=False), evil_page()):
        tab = show(page)
        for width in (1280, 420):
            tab.resize(width, 900)
            tab.wait(f"innerWidth === {width} && document.querySelectorAll('.transcript').length > 0")
            assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.logged == []


def test_text_is_readable_in_light_and_dark(show):
    """Contrast of at least 4.5, as the Web Content Accessibility Guidelines ask (1.4.3)."""
    tab = show(page_of(("a", "the cat sat", "a cat", "the cat sat down")))
    for scheme in ("light", "dark"):
        tab.colour_scheme(scheme)
        tab.wait(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
        names = ("paper", "ink", "muted", "accent", "sub", "del", "ins")
        values = [
            tab.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim()")
            for name in names
        ]
        paper, *others = map(luminance, values)
        for name, other in zip(names[1:], others):
            assert (max(paper, other) + 0.05) / (min(paper, other) + 0.05) >= 4.5, (scheme, name)
        background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == f"rgb({', '.join(str(int(values[0][i : i + 2], 16)) for i in (1, 3, 5))})"
    assert tab.logged == []


def luminance(colour):
    """Relative luminance of #rrggbb."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_from_right_to_left(show):
    tab = show(page_of(("שלום.wav", "שלום עולם טוב", "שלום עולם", "שלום עולם רע")))
    tab.wait("document.querySelectorAll('.comparison').length === 1")
    left = "[...document.querySelectorAll('.comparison tr:first-child > *')].map((c) => c.getBoundingClientRect().left)"
    cells = tab.evaluate(left)
    assert len(cells) == 4 and cells == sorted(cells, reverse=True)  # the name, then the words, from the right
    for part in (".transcript", ".recognised", ".utterance code"):
        assert tab.evaluate(f"getComputedStyle(document.querySelector('{part}')).direction") == "rtl"
    assert tab.evaluate("document.querySelector('.transcript').innerText") == "שלום עולם"
    assert tab.evaluate("getComputedStyle(document.querySelector('h1')).direction") == "ltr"
    assert tab.logged == []


def test_without_references_no_word_is_marked_as_an_error(show):
    labels = ("ar-greedy", "nar-greedy", "sar")
    utterances = [("a", "", "my colle america", "my fellow americans", "my fellow americans"), ("b", "", *["cat"] * 3)]
    tab = show(page_of(*utterances, labels=labels, references=False))
    tab.wait("document.querySelectorAll('.comparison').length === 2")
    assert tab.count(".sub") == tab.count(".del") == tab.count(".ins") == tab.count(".reliability") == 0
    assert tab.count("td.differs") == 6  # two columns, in all three rows
    rows = tab.evaluate(
        "[...document.querySelectorAll('table.numbers tbody tr')].map((r) => [...r.cells].map((c) => c.innerText))"
    )
    assert [row[1:4] for row in rows] == [["", "50.0", "50.0"], ["50.0", "", "0.0"], ["50.0", "0.0", ""]]
    assert tab.evaluate("document.querySelector('table.numbers abbr').title") == METHODS["ar-greedy"].description
    assert tab.evaluate("document.querySelectorAll('.columns h3')[0].innerText").startswith("ar-greedy · nar-greedy")
    tab = show(page_of(("a", "", "cat"), labels=("sar",), references=False))
    tab.wait("document.querySelectorAll('.transcript').length === 1")
    assert tab.count(".comparison") == tab.count("#confusions") == 0
    assert tab.logged == []


def test_recognised_text_never_runs(show):
    tab = show(evil_page())
    tab.wait("document.querySelectorAll('.comparison').length === 1")
    assert tab.logged == [] and tab.evaluate("document.title") != "ran"
    assert tab.count("script") == 2 and tab.count("img") == 0
    assert tab.evaluate("document.body.innerText.split('<img src=x').length - 1") >= 5  # shown as text


def test_the_pictures_of_the_readme_can_be_made_again(browser, tmp_path, monkeypatch, capsys):
    pytest.importorskip("k2")
    monkeypatch.chdir(ROOT)
    picture.main(tmp_path)
    assert "ar-beam" in capsys.readouterr().out
    for name, width, height, _ in picture.VIEWS:
        assert f"tests/data/{name}" in (ROOT / "README.md").read_text(encoding="utf-8")
        pixels = image.imread(tmp_path / name)
        assert pixels.shape[:2] == (height, width) == image.imread(ROOT / "tests" / "data" / name).shape[:2]
        assert pixels[..., :3].std() > 0.05
