"""The page in a real browser: it is drawn, it plays sound, and it never runs recognised text."""

from urllib.parse import unquote

import numpy as np
import pytest
import soundfile

from hainan_k2.report import Detail, render
from hainan_k2.search import METHODS
from tests.report.browser import browsing, find_browser
from tests.report.pages import JFK, evil_page, hypothesis_of, page_of

SECONDS = 2.0


@pytest.fixture
def show(tmp_path):
    """Opens a page in a browser; returns a Tab."""
    try:
        programs = find_browser()
    except LookupError as lacking:
        pytest.skip(str(lacking))
    with browsing(*programs, tmp_path / "profile") as tab:

        def shown(page):
            (tmp_path / "page.html").write_text(render(page), encoding="utf-8")
            tab.open(tmp_path / "page.html")
            return tab

        yield shown


@pytest.fixture
def twenty():
    """Twenty utterances with sound, spectrogram and a lattice of two texts that differ in the last word."""
    samples, _ = soundfile.read(JFK, dtype="float32", frames=int(16000 * SECONDS))
    detail = Detail(samples, (hypothesis_of("the cat sat", score=-1.0), hypothesis_of("the cat sats", score=-2.0)))
    utterances = [(f"u{i:02d}", "the cat sat", "the cat sat", "the cats") for i in range(20)]
    return page_of(
        *utterances,
        details={name: detail for name, *_ in utterances},
        seconds={"encoder": 1.0, "ar-greedy": 0.5, "nar-greedy": 0.1},
        origin=(("model", "tiny"), ("command", "decode.py --report page.html")),
    )


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


def test_the_transcripts_come_first_and_follow_the_selected_method(show, twenty):
    tab = show(twenty)
    tab.wait("document.querySelectorAll('.transcript').length === 3")
    ids = tab.evaluate("[...document.querySelectorAll('h2')].map((h) => h.id)")
    assert ids == ["utterances", "summary", "confusions", "calibration"]
    first = "document.querySelector('.transcript').innerText"
    assert tab.evaluate(first) == "the cat sat"
    tab.evaluate("[...document.querySelector('select[aria-label=\"Method shown\"]').options].at(1).selected = true")
    tab.evaluate("document.querySelector('select[aria-label=\"Method shown\"]').dispatchEvent(new Event('change'))")
    tab.wait(f"{first} === 'the cats'")
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


def test_transcripts_can_be_copied_and_downloaded(show):
    tab = show(page_of(("talks/é b.wav", "the cat", "the cat & dog #1", "cat")))
    tab.wait("document.querySelectorAll('.hand').length === 1")
    tab.evaluate(
        "!!Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (t) => { window.copied = t; }}})"
    )
    tab.evaluate("document.querySelector('.hand button').click()")
    tab.wait("document.querySelector('.hand button').innerText === 'copied'")
    assert tab.evaluate("window.copied") == "the cat & dog #1"
    kind, _, text = tab.evaluate("document.querySelector('.hand a').href").partition(",")
    assert kind == "data:text/plain;charset=utf-8" and unquote(text) == "the cat & dog #1\n"
    assert tab.evaluate("document.querySelector('.hand a').download") == "éb.wav.txt"
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


def test_utterances_are_sorted_by_wer_and_filtered(show):
    tab = show(
        page_of(
            ("good", "the cat", "the cat", "a dog"),
            ("long", "the cat sat down here", "the hat sat down there", "the cat sat down here"),
            ("silent", "", "cat", ""),
            ("short", "sat", "hat", "sat"),
        )
    )
    shown = "[...document.querySelectorAll('details.utterance:not([hidden]) code')].map((c) => c.innerText)"
    figures = "[...document.querySelectorAll('.utterance summary')].map((s) => s.children[2].innerText)"
    assert tab.evaluate(figures) == [
        "WER 0.0 %, 0 errors",
        "WER 40.0 %, 2 errors",
        "WER ∞ %, 1 error",
        "WER 100.0 %, 1 error",
    ]

    def choose(selector, value):
        tab.evaluate(f"Object.assign(document.querySelector('{selector}'), {value})")
        for event in ("input", "change"):
            tab.evaluate(f"document.querySelector('{selector}').dispatchEvent(new Event('{event}'))")

    choose(".legend select", "{value: 'highest WER first'}")
    assert tab.evaluate(shown) == ["silent", "short", "long", "good"]
    choose(".legend input[type=checkbox]", "{checked: true}")
    assert tab.evaluate(shown) == ["silent", "short", "long"]
    choose('select[aria-label="Method shown"]', "{selectedIndex: 1}")
    assert tab.evaluate(shown) == ["good"]
    choose(".legend input[type=checkbox]", "{checked: false}")
    choose(".legend input[type=search]", "{value: 'SAT'}")
    assert tab.evaluate(shown) == ["long", "short"]
    assert tab.evaluate("document.querySelector('h2 [role=status]').innerText") == "2 of 4 shown"
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


def test_the_sound_plays_and_the_line_follows_it(show, twenty):
    tab = show(twenty)
    tab.wait("document.querySelector('audio')?.readyState >= 1")
    assert tab.evaluate("document.querySelector('audio').duration") == pytest.approx(SECONDS, abs=0.05)
    place = "document.querySelector('.playhead').getBoundingClientRect().left"
    start = tab.evaluate(place)
    tab.evaluate("document.querySelector('audio').play()")
    tab.wait("document.querySelector('audio').currentTime > 0.3")
    tab.evaluate("document.querySelector('audio').pause()")
    assert tab.evaluate(place) > start
    tab.evaluate("document.querySelectorAll('.span.word')[1].click()")  # it starts at 0.4 s
    tab.wait(
        "document.querySelector('audio').currentTime === 0.4 && "
        "document.querySelector('.word.now')?.textContent === 'cat'"
    )
    assert tab.logged == []


def test_recognised_text_never_runs(show):
    tab = show(evil_page())
    tab.wait("document.querySelectorAll('.comparison').length === 1")
    assert tab.logged == [] and tab.evaluate("document.title") != "ran"
    assert tab.count("script") == 2 and tab.count("img") == 0
    assert tab.evaluate("document.body.innerText.split('<img src=x').length - 1") >= 5  # shown as text
