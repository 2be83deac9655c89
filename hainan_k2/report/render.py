"""The HTML document: template, style, script and the data that the script draws."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path

from hainan_k2.report.content import page_data
from hainan_k2.report.page import Page

ASSETS = Path(__file__).parent
SCRIPTS = ("dom.js", "table.js", "charts.js", "summary.js", "timeline.js", "utterance.js", "list.js", "main.js")


def render(page: Page) -> str:
    """The page as one HTML document that loads no other file.

    Recognised texts and references are inserted as text, never as markup, and the document's Content-Security-Policy
    allows no script but the page's own.

    Raises:
      ValueError: as page_data does.
    """
    data = json.dumps(page_data(page), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    data = data.replace("<", "\\u003c")  # it could end the element that contains the data
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
    """The hash by which Content-Security-Policy allows a script or a style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
