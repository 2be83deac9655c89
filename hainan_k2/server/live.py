"""The WebSocket of live audio: PCM in, words out while they are recognised.

The client sends binary messages of any size, 16-bit PCM, mono, 16 kHz, and at the end the text `{"type": "end"}`. The
server sends JSON objects, told apart by `type`:

  ready   the sampling rate, and the longest stream in seconds
  update  as a line of `hainan-transcribe --stream true`: `words` that are final now, with times and confidences, the
          unfinished text as `partial`, `seconds` searched so far, and `endpoint`, whether a silence ended the utterance
  end     all words have been sent; `limit` tells whether the longest stream was reached. The server closes.
  error   one line. The server closes.

A client that sends faster than the search goes on is slowed down: the server stops reading.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, Optional

from starlette.websockets import WebSocket, WebSocketDisconnect

from hainan_k2.cli import reason
from hainan_k2.files.text_tables import printable
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.server.limits import Limits
from hainan_k2.server.service import Service

logger = logging.getLogger(__name__)

WAITING = 4  # messages that are received and not yet searched
PATIENCE = 60.0  # seconds without a message after which the server closes
NORMAL, BAD_DATA, MISTAKE, BUSY = 1000, 1007, 1011, 1013  # codes of RFC 6455 that tell why a WebSocket is closed


class BadMessage(ValueError):
    """A client broke a rule of the stream."""


class Received:
    """The bytes of a stream, from the event loop to the thread that searches it.

    Make it within the event loop. `read1`, for the thread, waits for the next message.
    """

    def __init__(self) -> None:
        self._loop, self._room = asyncio.get_running_loop(), asyncio.Semaphore(WAITING)
        self._messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._rest, self._ended = b"", False

    async def put(self, message: bytes) -> None:
        """Add a message. Waits while WAITING others have not been taken."""
        if message:
            await self._room.acquire()
            self._messages.put(message)

    def end(self, drop: bool = False) -> None:
        """Nothing follows; with `drop`, what has not been read is dropped."""
        self._ended = self._ended or drop
        self._messages.put(b"")

    def read1(self, size: int, /) -> bytes:
        """Up to `size` bytes as soon as there are any; none at the end."""
        if not self._rest and not self._ended:
            self._rest = self._messages.get()
            if self._rest:
                self._loop.call_soon_threadsafe(self._room.release)
        if self._ended or not self._rest:
            self._ended = True
            return b""
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


class Live:
    """The endpoint of streams. Each is searched in a thread of its own."""

    def __init__(self, service: Service, limits: Limits):
        self.service, self.limits = service, limits
        self.open = 0
        self._executor = ThreadPoolExecutor(max(1, limits.max_streams), "stream")

    async def stream(self, websocket: WebSocket) -> None:
        """Serve a client until it ends the stream, closes, or breaks a rule."""
        await websocket.accept()
        if self.open >= self.limits.max_streams:
            message = f"{self.open} streams are open, the most that this server takes: try again later"
            return await _close(websocket, {"type": "error", "message": message}, BUSY)
        self.open += 1
        try:
            await self._serve(websocket)
        except WebSocketDisconnect:
            logger.info("a client left its stream before the end")
        finally:
            self.open -= 1

    async def _serve(self, websocket: WebSocket) -> None:
        """Search what arrives and send the events. Raises WebSocketDisconnect if the client leaves."""
        received, loop = Received(), asyncio.get_running_loop()
        events: asyncio.Queue[Optional[dict[str, Any]]] = asyncio.Queue()

        def search() -> None:
            try:
                for update in self.service.stream(received):
                    loop.call_soon_threadsafe(events.put_nowait, {"type": "update", **asdict(update)})
            finally:
                loop.call_soon_threadsafe(events.put_nowait, None)

        ready = {"type": "ready", "sampling_rate": SAMPLING_RATE, "max_seconds": self.limits.max_seconds}
        await websocket.send_json(ready)
        reading = asyncio.ensure_future(self._read(websocket, received))
        searching = loop.run_in_executor(self._executor, search)
        writing = asyncio.ensure_future(_write(websocket, events))
        ends: list[asyncio.Future[Any]] = [reading, searching]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:  # a search that ends first has failed
            gone = not reading.done() or isinstance(_error_of(reading), WebSocketDisconnect)
            reading.cancel()
            received.end(drop=gone)
        tasks: list[asyncio.Future[Any]] = [reading, writing, searching]
        await asyncio.wait(tasks)
        errors = [error for error in map(_error_of, tasks) if error is not None]
        if not errors:
            return await _close(websocket, {"type": "end", "limit": reading.result()}, NORMAL)
        if isinstance(errors[0], WebSocketDisconnect):
            raise errors[0]
        if not isinstance(errors[0], ValueError):
            logger.error("a stream failed", exc_info=errors[0])
        code = BAD_DATA if isinstance(errors[0], ValueError) else MISTAKE
        await _close(websocket, {"type": "error", "message": printable(reason(errors[0]))}, code)

    async def _read(self, websocket: WebSocket, received: Received) -> bool:
        """Receive messages until the client ends the stream. Returns whether it reached its longest length.

        Raises BadMessage or WebSocketDisconnect.
        """
        room = int(self.limits.max_seconds * SAMPLING_RATE) * 2
        while True:
            try:
                message = await asyncio.wait_for(websocket.receive(), PATIENCE)
            except asyncio.TimeoutError:
                raise BadMessage(f"no message for {PATIENCE:g} s") from None
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", NORMAL))
            content = message.get("bytes")
            if content is None:
                if _is_end(message.get("text") or ""):
                    return False
                raise BadMessage('a text is {"type": "end"} and ends the stream; audio is sent in binary messages')
            await received.put(content[:room])
            room -= len(content)
            if room < 0:
                return True


async def _write(websocket: WebSocket, events: asyncio.Queue[Optional[dict[str, Any]]]) -> None:
    """Send events until there is a None."""
    while True:
        event = await events.get()
        if event is None:
            return
        await websocket.send_json(event)


async def _close(websocket: WebSocket, event: dict[str, Any], code: int) -> None:
    """Send a last event and close. A client that is gone already is none the worse."""
    try:
        await websocket.send_json(event)
        await websocket.close(code)
    except (WebSocketDisconnect, RuntimeError):
        logger.info("a client left its stream before the end")


def _is_end(text: str) -> bool:
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) and value.get("type") == "end"


def _error_of(done: asyncio.Future[Any]) -> Optional[BaseException]:
    """The error of a future that is done; None if it was cancelled or has a result."""
    return None if done.cancelled() else done.exception()
