"""A server on a free port, in a thread of the test, and the clients that talk to it."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import soundfile
import urllib3

from hainan_k2.serve import listen, server_of
from hainan_k2.server.limits import Limits


class Client:
    """Requests to a server. Connections are shared by threads."""

    def __init__(self, port: int):
        self.port, self.base = port, f"http://127.0.0.1:{port}"
        self.pool = urllib3.PoolManager(maxsize=32, retries=False)

    def get(self, path, **headers):
        return self.pool.request("GET", self.base + path, headers=headers, retries=3)  # on a connection just closed

    def health(self):
        return json.loads(self.get("/health").data)

    def wait(self, condition):
        """Wait until a condition on /health holds."""
        while not condition(self.health()):
            time.sleep(0.01)

    def post(self, content, *fields, path="/v1/audio/transcriptions", name="a.wav", **headers):
        """Send a file and further fields, each (name, value)."""
        parts = [*fields, ("file", (name, content))]
        return self.pool.request("POST", self.base + path, fields=parts, headers=headers)

    @staticmethod
    def form(content, name="a.wav"):
        """The body of a form with a file, and its content type."""
        return urllib3.encode_multipart_formdata({"file": (name, content)})

    @contextmanager
    def stream(self, **options):
        """An open WebSocket, after its first event."""
        from websockets.sync.client import connect

        with connect(f"ws://127.0.0.1:{self.port}/v1/audio/stream", max_size=None, **options) as socket:
            yield socket

    def events(self, *messages, **options):
        """The events of a stream of messages, the first one included, and the code with which it was closed."""
        from websockets.exceptions import ConnectionClosed

        events = []
        with self.stream(**options) as socket:
            with suppress(ConnectionClosed):
                for message in messages:
                    socket.send(message)
            with suppress(ConnectionClosed):
                while True:
                    events.append(json.loads(socket.recv()))
        return events, socket.protocol.close_code


@contextmanager
def running(app) -> Iterator[Client]:
    """A client of `app`, which is served until the end of the block."""
    server = server_of(app)
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, args=[[listener]])
        thread.start()
        try:
            yield Client(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def serving(service, **limits) -> Iterator[Client]:
    from hainan_k2.server.app import make_app

    with running(make_app(service, Limits(**limits))) as client:
        yield client


def wav(samples, rate=16000, **kind) -> bytes:
    """A file of samples, float32, so that they are read as they are."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **{"format": "WAV", "subtype": "FLOAT", **kind})
    return file.getvalue()


def error_of(response):
    """(status, message) of a refusal, checked to be in the form that clients know."""
    error = json.loads(response.data)["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["code"] == response.status
    assert "\n" not in error["message"]
    return response.status, error["message"]
