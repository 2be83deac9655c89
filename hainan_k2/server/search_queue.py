"""SearchQueue: requests are searched one after another, in a thread of its own, and only so many may wait."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from hainan_k2.server.errors import Refusal

Result = TypeVar("Result")
MEMORY = 0.8  # weight of earlier searches in the mean duration
FIRST_GUESS = 2.0  # seconds of a search, before there was one


class Abandoned(Exception):
    """The client is gone."""


class SearchQueue:
    """Up to `places` requests at once: one that is searched, the others being received or waiting.

    Searches run one by one, in order of arrival, since each uses all threads of torch. The event loop is free
    meanwhile. Make it within the event loop that uses it.
    """

    def __init__(self, places: int):
        self.places, self.taken = places, 0
        self._turn, self._mean = asyncio.Lock(), FIRST_GUESS
        self._executor = ThreadPoolExecutor(1, "search")

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place for a block. Refusal with status 503 and Retry-After, in seconds, if there is none."""
        if self.taken >= self.places:
            wait = str(max(1, math.ceil(self._mean)))
            message = f"{self.taken} requests are being worked on, the most that this server holds: try again later"
            raise Refusal(503, message, headers={"Retry-After": wait})
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def run(self, function: Callable[[], Result], gone: Callable[[], Awaitable[bool]]) -> Result:
        """Call a function in the thread when its turn comes. Abandoned, if the client is `gone` by then."""
        async with self._turn:
            if await gone():
                raise Abandoned
            start = time.monotonic()
            result = await asyncio.get_running_loop().run_in_executor(self._executor, function)
            self._mean = MEMORY * self._mean + (1 - MEMORY) * (time.monotonic() - start)
            return result

    def close(self) -> None:
        """Forget what waits; a search that runs is not awaited."""
        self._executor.shutdown(wait=False, cancel_futures=True)
