"""The application: the routes of the server.

GET /                          the page
POST /v1/audio/transcriptions  words of a file (transcriptions.py)
POST /v1/report                report page of a file
WS /v1/audio/stream            words of live audio (live.py)
GET /v1/models                 the model
GET /health                    how busy the server is
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from hainan_k2 import __version__
from hainan_k2.server.errors import Refusal, on_http_error, on_mistake, on_refusal
from hainan_k2.server.guard import Guard
from hainan_k2.server.limits import Limits
from hainan_k2.server.live import Live
from hainan_k2.server.page import Page
from hainan_k2.server.search_queue import SearchQueue
from hainan_k2.server.service import Service
from hainan_k2.server.transcriptions import Transcriptions


def make_app(service: Service, limits: Limits, local: bool = True) -> Starlette:
    """The ASGI application.

    Args:
      local: it listens on the loopback address only, and answers to its names only.
    """
    uploads, live, page = Transcriptions(service, limits), Live(service, limits), Page(service, limits)

    async def models(request: Request) -> Response:
        model = {"id": service.name, "object": "model", "created": 0, "owned_by": "hainan_k2"}
        return JSONResponse({"object": "list", "data": [model]})

    async def health(request: Request) -> Response:
        requests = request.app.state.queue.taken
        return JSONResponse(
            {"status": "ok", "model": service.name, "version": __version__, "requests": requests, "streams": live.open}
        )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.queue = SearchQueue(limits.max_requests)  # here: it belongs to the event loop
        yield
        app.state.queue.close()

    return Starlette(
        routes=[
            Route("/", page.document),
            Route("/downsampling.js", page.worklet),
            Route("/health", health),
            Route("/v1/models", models),
            Route("/v1/audio/transcriptions", uploads.transcribe, methods=["POST"]),
            Route("/v1/report", uploads.report, methods=["POST"]),
            WebSocketRoute("/v1/audio/stream", live.stream),
        ],
        middleware=[Middleware(Guard, local=local)],
        exception_handlers={Refusal: on_refusal, HTTPException: on_http_error, Exception: on_mistake},
        lifespan=lifespan,
    )
