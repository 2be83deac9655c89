"""Refusals: what the server cannot do, as an HTTP status and a JSON object in the form that clients know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class Refusal(Exception):
    """A request that is not answered.

    Args:
      status: 400 for a bad request, 413 for too much, 415 for another kind of content, 422 for audio that cannot be
        used, 503 while the server is busy.
      message: one line: what is wrong, and what to do.
      param: the field of the request that is wrong.
      headers: of the response.
    """

    def __init__(
        self, status: int, message: str, param: Optional[str] = None, headers: Optional[Mapping[str, str]] = None
    ):
        super().__init__(message)
        self.status, self.message, self.param, self.headers = status, message, param, dict(headers or {})


def error_response(
    status: int, message: str, param: Optional[str] = None, headers: Optional[Mapping[str, str]] = None
) -> JSONResponse:
    """The JSON object of an error."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    error = {"message": message, "type": kind, "param": param, "code": status}
    return JSONResponse({"error": error}, status, headers=dict(headers or {}))


async def on_refusal(request: Request, error: Exception) -> Response:
    """Starlette's handler of Refusal."""
    assert isinstance(error, Refusal)
    return error_response(error.status, error.message, error.param, error.headers)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Starlette's handler of its own errors, such as 404 and 405."""
    assert isinstance(error, HTTPException)
    return error_response(
        error.status_code, f"{request.method} {request.url.path}: {error.detail}", None, error.headers
    )


async def on_mistake(request: Request, error: Exception) -> Response:
    """Starlette's handler of every other error, which it also logs: a mistake in the program."""
    return error_response(500, f"{type(error).__name__}: see the server's log")
