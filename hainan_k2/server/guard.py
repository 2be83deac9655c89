"""Guard: requests that other web sites make a visitor's browser send are refused.

Any page may send forms and open WebSockets to http://localhost. A browser states its page in the header Origin, which
has to be the server's own. Where the server listens on the loopback address only, the header Host has to be one of its
names, which a page of another site, whose name leads to this machine, cannot change.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from hainan_k2.server.errors import error_response

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Guard:
    """ASGI middleware. `local`: the server listens on the loopback address only."""

    def __init__(self, app: ASGIApp, local: bool):
        self.app, self.local = app, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        why = why_refused(Headers(scope=scope), self.local) if scope["type"] in ("http", "websocket") else ""
        if not why:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await error_response(403, why)(scope, receive, send)
        else:
            await WebSocketClose(1008, why)(scope, receive, send)


def why_refused(headers: Headers, local: bool) -> str:
    """Why a request with these headers is refused; empty where it is not."""
    host, origin = headers.get("host", ""), headers.get("origin")
    name = urlsplit(f"//{host}").hostname if "[" not in host or "]" in host else None
    if local and name not in LOOPBACK:
        return f"host {host!r}: this server answers to {', '.join(LOOPBACK)}"
    if origin is not None and origin.partition("://")[2] != host:
        return f"a page of {origin!r} may not use this server"
    return ""
