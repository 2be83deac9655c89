"""The page as a string: a template, its style and script, and the data for the script."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path

from hainan_k2.report.content import Page, page_data

ASSETS = Path(__file__).parent
SCRIPTS = ("dom.js", "summary.js", "timeline.js", "utterance.js", "main.js")


def render(page: Page) -> str:
    """One HTML document that loads nothing else.

    All texts of the page are data: the script puts them in as text, never as markup, and the document's policy lets no
    script run but this one. ValueError as of page_data.
    """
    data = json.dumps(page_data(page), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    data = data.replace("<", "\\u003c")  # which could end the element that holds it
    style = _asset("page.css")
    script = "\n".join(_asset(name) for name in SCRIPTS)
    parts = {
        "title": html.escape(page.title),
        "style": style,
        "script": script,
        "data": data,
        "style_hash": _hash(style),
        "script_hash": _hash(script),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset("page.html"))


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """A source of Content-Security-Policy: the text that may be run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
