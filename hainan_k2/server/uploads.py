"""Uploads: the fields and the file of a multipart request.

A file of more than 1 MB lies, while its request is worked on, in a temporary file without a name (Starlette's
SpooledTemporaryFile), which the system removes when it is closed, also if the process is killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from hainan_k2.files.text_tables import printable
from hainan_k2.frontend.content import AudioContent
from hainan_k2.server.errors import Refusal
from hainan_k2.server.search_queue import Abandoned

MAX_FIELDS = 30
FIELD_BYTES = 64 * 1024  # of a field that is no file
OVERHEAD = 256 * 1024  # bytes of a request that are not of its file: the other fields, and what separates them
PATIENCE = 300.0  # seconds within which a request has to arrive


@dataclass(frozen=True)
class Upload:
    """The file of a request, and its other fields: (name, value) pairs in order; a name may come several times."""

    content: AudioContent
    fields: tuple[tuple[str, str], ...]


@asynccontextmanager
async def received(request: Request, max_bytes: int) -> AsyncIterator[Upload]:
    """Receive a request. Its file is closed at the end of the block.

    Raises:
      Refusal: 400 for a form without `file` or that cannot be read, 408 for one that does not arrive, 413 for more than
        `max_bytes`, 415 for what is no multipart form.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise Refusal(
            415, "the request should be multipart/form-data with a field file, as curl -F file=@talk.flac makes"
        )
    too_large = Refusal(
        413, f"the upload is larger than {max_bytes / 1e6:g} MB, the most that this server takes", "file"
    )
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > max_bytes + OVERHEAD:
        raise too_large
    counted = Request(request.scope, _counted(request.receive, max_bytes + OVERHEAD, too_large))
    try:
        parsing = counted.form(max_files=1, max_fields=MAX_FIELDS, max_part_size=FIELD_BYTES)
        form = await asyncio.wait_for(parsing, PATIENCE)
    except asyncio.TimeoutError:
        raise Refusal(408, f"the request did not arrive within {PATIENCE:g} s") from None
    except (HTTPException, ValueError) as error:  # python-multipart's errors are ValueErrors; Starlette 1 wraps them
        why = error.detail if isinstance(error, HTTPException) else error
        raise Refusal(400, f"the multipart form cannot be read: {why}") from None
    except ClientDisconnect:
        raise Abandoned from None
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Refusal(400, "field file is missing: it holds the audio file", "file")
        if (file.size or 0) > max_bytes:
            raise too_large
        fields = tuple((name, value) for name, value in form.multi_items() if isinstance(value, str))
        yield Upload(AudioContent(printable(file.filename or "audio"), file.file), fields)
    finally:
        await form.close()


def _counted(receive: Receive, most: int, too_large: Refusal) -> Receive:
    """`receive` that raises `too_large` when more than `most` bytes of a body have come: a length may be unstated."""
    size = 0

    async def counting() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise too_large
        return message

    return counting
