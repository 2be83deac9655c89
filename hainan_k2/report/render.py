"""The HTML document: template, style, script and the data that the script draws."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

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
    data = page_data(page)
    return document(asset("page.html"), page.title, report_style(), report_script(), data)


def document(template: str, title: str, style: str, script: str, data: Any) -> str:
    """An HTML document with its style, its script and the data that the script reads, as JSON, in the template.

    `{{style_hash}}` and `{{script_hash}}` are for the template's Content-Security-Policy.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    parts = {
        "title": html.escape(title),
        "style": style,
        "script": script,
        "data": text.replace("<", "\\u003c"),  # it could end the element that contains the data
        "style_hash": csp_hash(style),
        "script_hash": csp_hash(script),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def report_style() -> str:
    """The style sheet of the page."""
    return asset("page.css")


def report_script() -> str:
    """The script of the page."""
    return "\n".join(asset(name) for name in SCRIPTS)


def asset(name: str) -> str:
    """A part of the page, by its file name."""
    return (ASSETS / name).read_text(encoding="utf-8")


def csp_hash(text: str) -> str:
    """The hash by which a Content-Security-Policy allows a script or a style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
