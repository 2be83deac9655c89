"""Limits of the server, as options."""

from __future__ import annotations

from dataclasses import dataclass

from hainan_k2.config import option
from hainan_k2.inference.window_sizes import StreamConfig

MESSAGE_BYTES = 1 << 20  # of a message of a stream at most: 33 s


@dataclass(frozen=True)
class Limits:
    """What the server takes. Times in seconds, sizes in megabytes (10^6 bytes)."""

    max_upload: float = option(100.0, "megabytes of an upload", above=0, at_most=10**6)
    max_seconds: float = option(3600.0, "seconds of a recording or of a stream", above=0, at_most=10**6)
    max_requests: int = option(
        32, "uploads at once; one is searched, the others wait; more are refused (503)", at_least=1, at_most=10**4
    )
    max_streams: int = option(4, "streams at once; more are refused", at_least=0, at_most=1000)

    help_title = "limits"

    @property
    def upload_bytes(self) -> int:
        return int(self.max_upload * 1e6)


@dataclass(frozen=True)
class LiveConfig(StreamConfig):
    """Streams of a server. Unlike StreamConfig they have end points by default, since a visitor may speak for long."""

    endpoint_silence: float = option(
        1.2, "seconds without a token after a word that end an utterance; 0: none", at_least=0, at_most=600
    )
