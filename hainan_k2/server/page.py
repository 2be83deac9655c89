"""The page of the server: a visitor speaks or drops a file, and sees words, confidences and the report page."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hainan_k2 import __version__
from hainan_k2.report.render import asset, csp_hash, document, report_script, report_style
from hainan_k2.server.limits import Limits
from hainan_k2.server.service import Service
from hainan_k2.server.transcriptions import REPORT_SECONDS

FOLDER = Path(__file__).parent
SCRIPTS = ("words.js", "microphone.js", "visitor.js")


class Page:
    """The endpoints of the page. It loads nothing but the audio worklet, which browsers take from an address only."""

    def __init__(self, service: Service, limits: Limits):
        style = report_style() + _read("visitor.css")
        script = "\n".join([asset("dom.js"), *map(_read, SCRIPTS)])
        data = {
            "model": service.name,
            "method": service.row.label,
            "streamMethod": service.stream_row.label,
            "maxSeconds": limits.max_seconds,
            "reportSeconds": min(REPORT_SECONDS, limits.max_seconds),
            "version": __version__,
        }
        self._document = document(_read("visitor.html"), "hainan_k2", style, script, data)
        # A report page is shown in a frame, which takes over these rules: so they allow its style and script too.
        styles = f"'{csp_hash(style)}' '{csp_hash(report_style())}'"
        scripts = f"'self' '{csp_hash(script)}' '{csp_hash(report_script())}'"
        rules = [
            "default-src 'none'",
            "connect-src 'self'",
            "img-src data:",
            "media-src data:",
            f"style-src {styles}",
            f"script-src {scripts}",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
        self._headers = {
            "Content-Security-Policy": "; ".join(rules),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",
        }

    async def document(self, request: Request) -> Response:
        """GET /"""
        return HTMLResponse(self._document, headers=self._headers)

    async def worklet(self, request: Request) -> Response:
        """GET /downsampling.js: the part of the page that runs in the browser's audio thread."""
        return Response(_read("downsampling.js"), media_type="text/javascript", headers=self._headers)


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
