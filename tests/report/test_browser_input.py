"""What a visitor does on the page, in a real browser: choose, sort, filter, copy, play, with or without a mouse."""

from urllib.parse import unquote

import pytest

from hainan_k2 import report
from hainan_k2.report import Detail
from hainan_k2.search import METHODS
from tests.report.pages import SECONDS, page_of

SHOWN = "[...document.querySelectorAll('details.utterance code')].map((c) => c.innerText)"


def choose(tab, selector, values):
    """Set properties of a control, given as a JavaScript object, as a user would."""
    tab.evaluate(f"Object.assign(document.querySelector('{selector}'), {values})")
    for event in ("input", "change"):
        tab.evaluate(f"document.querySelector('{selector}').dispatchEvent(new Event('{event}'))")


def test_the_transcripts_come_first_and_follow_the_selected_method(show, twenty):
    tab = show(twenty)
    tab.wait("document.querySelectorAll('.transcript').length === 3")
    ids = tab.evaluate("[...document.querySelectorAll('h2')].map((h) => h.id)")
    assert ids == ["utterances", "summary", "distributions", "confusions", "calibration"]
    first = "document.querySelector('.transcript').innerText"
    assert tab.evaluate(first) == "the cat sat"
    tab.evaluate("[...document.querySelector('select[aria-label=\"Method shown\"]').options].at(1).selected = true")
    tab.evaluate("document.querySelector('select[aria-label=\"Method shown\"]').dispatchEvent(new Event('change'))")
    tab.wait(f"{first} === 'the cats'")
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


def test_utterances_are_sorted_by_wer_and_filtered(show):
    tab = show(
        page_of(
            ("good", "the cat", "the cat", "a dog"),
            ("long", "the cat sat down here", "the hat sat down there", "the cat sat down here"),
            ("silent", "", "cat", ""),
            ("short", "sat", "hat", "sat"),
        )
    )
    figures = "[...document.querySelectorAll('.utterance summary')].map((s) => s.children[2].innerText)"
    assert tab.evaluate(figures) == [
        "WER 0.0 %, 0 errors",
        "WER 40.0 %, 2 errors",
        "WER ∞ %, 1 error",
        "WER 100.0 %, 1 error",
    ]
    choose(tab, ".legend select", "{value: 'highest WER first'}")
    assert tab.evaluate(SHOWN) == ["silent", "short", "long", "good"]
    choose(tab, ".legend input[type=checkbox]", "{checked: true}")
    assert tab.evaluate(SHOWN) == ["silent", "short", "long"]
    choose(tab, 'select[aria-label="Method shown"]', "{selectedIndex: 1}")
    assert tab.evaluate(SHOWN) == ["good"]
    choose(tab, ".legend input[type=checkbox]", "{checked: false}")
    choose(tab, ".legend input[type=search]", "{value: 'SAT'}")
    assert tab.evaluate(SHOWN) == ["long", "short"]
    assert tab.evaluate("document.querySelector('h2 [role=status]').innerText") == "2 of 4 shown"
    assert tab.logged == []


def test_all_utterances_are_listed_those_with_details_first(show, monkeypatch):
    utterances = [(f"u{i:03d}", "the cat", "the cat", "the cats") for i in range(130)]
    speakers = {name: f"speaker {name[-1]}" for name, *_ in utterances}
    tab = show(page_of(*utterances, details={"u129": Detail()}, speakers=speakers))
    assert tab.evaluate(SHOWN) == ["u129", *(f"u{i:03d}" for i in range(19))]
    assert tab.evaluate("document.querySelector('h2 [role=status]').innerText") == "130"
    tab.wait("document.querySelectorAll('.comparison').length === 3")
    assert tab.count(".timeline") == 1  # of the utterance with details
    more = "document.querySelector('section > button')"
    assert tab.evaluate(f"{more}.innerText") == "show 100 more"
    tab.evaluate(f"{more}.click()")
    assert tab.count("details.utterance") == 120 and tab.evaluate(f"{more}.innerText") == "show 10 more"
    tab.evaluate(f"{more}.click()")
    assert tab.count("details.utterance") == 130 and tab.evaluate(f"{more}.hidden")
    choose(tab, ".legend label:nth-of-type(2) select", "{selectedIndex: 10}")
    assert tab.evaluate(SHOWN) == ["u129", *(f"u{i:02d}9" for i in range(12))]
    monkeypatch.setattr(report.utterances, "LISTED", 100)
    tab = show(page_of(*utterances, details={"u129": Detail()}))
    assert tab.evaluate("document.querySelector('h2 [role=status]').innerText") == "100"
    assert "100 utterances of 130" in tab.evaluate("document.querySelector('section').innerText")
    assert tab.logged == []


def test_speakers_are_sorted_and_histograms_drawn(show):
    utterances = [
        ("a1", "the cat", "the cat", "the hat"),
        ("a2", "the cat", "the cat", "the cat"),
        ("b1", "the cat", "cat", "the cat"),
        ("c1", "", "cat", ""),
    ]
    speakers = {"a1": "anna", "a2": "anna", "b1": "<b>bob</b>"}
    tab = show(page_of(*utterances, speakers=speakers))
    rows = "[...document.querySelectorAll('.tall tbody tr')].map((r) => [...r.cells].map((c) => c.innerText))"
    assert tab.evaluate(rows) == [
        ["unknown", "1", "0.0", "0", "∞", "0", "0", "1"],
        ["<b>bob</b>", "1", "0.0", "2", "50.00", "0", "1", "0"],
        ["anna", "2", "0.1", "4", "0.00", "0", "0", "0"],
    ]
    names = f"{rows}.map((cells) => cells[0])"

    def click(column):
        tab.evaluate(f"document.querySelectorAll('.tall .sort')[{column}].click()")
        return tab.evaluate(names), tab.evaluate(f"document.querySelectorAll('.tall thead th')[{column}].ariaSort")

    assert click(4) == (["unknown", "<b>bob</b>", "anna"], "descending")
    assert click(4) == (["anna", "<b>bob</b>", "unknown"], "ascending")
    choose(tab, 'select[aria-label="Method shown"]', "{selectedIndex: 1}")
    assert tab.evaluate(names) == ["unknown", "<b>bob</b>", "anna"]  # by the WER of the other method
    assert click(1)[0][0] == "anna"
    bars = "[...document.querySelectorAll('.histogram')].map((h) => h.ariaLabel)"
    assert tab.evaluate(bars) == [
        "Utterances by duration in s: 4 utterances of 2 to 2.2 s",
        "Utterances by WER in %: 3 utterances without an error; 1 utterance with a WER above 40 and up to 50 %",
    ]
    assert tab.logged == []


def test_the_page_is_usable_with_the_keyboard_alone(show, twenty):
    tab = show(twenty)
    tab.wait("document.querySelectorAll('.playhead').length === 3")
    active = "document.activeElement"

    def tab_to(condition):
        for _ in range(120):
            tab.press("TAB")
            if tab.evaluate(condition):
                return
        raise AssertionError(f"no element can be reached with {condition}")

    tab_to(f"{active}.getAttribute('aria-label') === 'Method shown'")
    tab.press("ARROW_DOWN")
    tab.wait("document.querySelector('.transcript').innerText === 'the cats'")
    tab_to(f"{active}.type === 'search'")
    tab.press(*"u19")
    tab.wait("document.querySelectorAll('details.utterance').length === 1")
    tab_to(f"{active}.tagName === 'SUMMARY'")
    tab.press("ENTER")
    tab.wait("document.querySelectorAll('.playhead').length === 1")
    tab_to(f"{active}.classList.contains('word') && {active}.textContent === 'cats'")
    tab.press("ENTER")
    tab.wait("document.querySelector('audio').currentTime === 0.4")
    tab_to(f"{active}.tagName === 'ABBR'")
    description = tab.evaluate(f"getComputedStyle({active}, '::after').content")
    assert METHODS["ar-greedy"].description in description  # shown at the foot of the window
    tab_to(f"{active}.classList.contains('sort') && {active}.innerText === 'WER %'")
    tab.press("SPACE")
    first = "document.querySelector('table.numbers tbody th').innerText"
    tab.wait(f"{first} === 'nar-greedy'")
    tab.press("SPACE")
    tab.wait(f"{first} === 'ar-greedy'")
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
