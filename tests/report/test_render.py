"""The HTML document: texts are never markup, no other file is loaded, no script runs but the page's own."""

import base64
import hashlib
import re

import numpy as np

from hainan_k2.report import Detail, render
from tests.report.pages import EVIL, Parsed, data_in, evil_page, page_of


def test_texts_are_never_markup():
    document = render(evil_page())
    parsed, plain = Parsed(document), Parsed(render(page_of(("a", "cat", "cat", "cat"))))
    assert parsed.tags == plain.tags and parsed.tags.count("script") == 2
    data = data_in(document)
    assert data["title"] == data["utterances"][0]["id"] == data["utterances"][0]["rows"][0]["note"] == EVIL


def test_nothing_is_loaded_and_only_our_script_runs():
    samples = np.zeros(4000, dtype=np.float32)
    document = render(page_of(("a", "cat", "cat", "cat"), details={"a": Detail(samples)}))
    loaded = [value for _, name, value in Parsed(document).attributes if name in ("src", "href", "srcset", "action")]
    assert loaded == ["data:,"]
    assert set(re.findall(r"https?://[^\"'` )]+", document)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(
        r"fetch\(|XMLHttpRequest|innerHTML|insertAdjacentHTML|document\.write|eval\(|@import|url\(", document
    )
    script = re.search(r"<script>(.*?)</script>", document, re.S)[1]
    style = re.search(r"<style>(.*?)</style>", document, re.S)[1]
    (policy,) = (value for tag, name, value in Parsed(document).attributes if name == "content" and "src" in value)
    for kind, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
