"""A page in a browser, and one of twenty utterances."""

import pytest
import soundfile

from hainan_k2.report import Detail, render
from tests.report.browser import browsing, find_browser
from tests.report.pages import JFK, SECONDS, hypothesis_of, page_of


@pytest.fixture
def browser():
    """The paths of a browser and of its driver."""
    try:
        return find_browser()
    except LookupError as lacking:
        pytest.skip(str(lacking))


@pytest.fixture
def show(browser, tmp_path):
    """Opens a page in a browser; returns a Tab."""
    with browsing(*browser, tmp_path / "profile") as tab:

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
