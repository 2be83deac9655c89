"""A server for recordings and live audio: `hainan-serve`, then http://127.0.0.1:8000 in a browser, or

curl -F file=@talk.flac -F response_format=verbose_json http://127.0.0.1:8000/v1/audio/transcriptions

The page takes a file or the microphone and shows words with confidences, and the report page of the recording. Other
clients use POST /v1/audio/transcriptions as other servers offer it, and a WebSocket for live audio
(hainan_k2/server/app.py lists the routes). Nothing that is sent is kept. The server listens on this machine alone,
unless --host names another address; it has no passwords and no encryption, which is the task of a proxy in front of it.

Exit codes: 0 when it is stopped; 2 if it cannot start.
"""

from __future__ import annotations

import ipaddress
import logging
import pathlib
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from hainan_k2.cli import errors_in_one_line, parse, start_logging
from hainan_k2.config import option
from hainan_k2.inference.window_sizes import WindowConfig
from hainan_k2.search.resources import ResourceConfig
from hainan_k2.search.sweep import SearchGrid
from hainan_k2.server.limits import MESSAGE_BYTES, Limits, LiveConfig

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

logger = logging.getLogger(__name__)

PORT = 8000
GRACE = 10  # seconds that running requests have when the server is stopped


@dataclass(frozen=True)
class ServeConfig:
    model: str = option("released", "model directory of export.py; released: the one that comes with the package")
    method: str = option(
        "",
        "of the list below; default: the model's best that can run here; of streams too, or ar-greedy where the method "
        "needs whole recordings",
    )
    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0: all of this machine, for other machines too")
    port: int = option(PORT, "port; 0: a free one, which the log names", at_least=0, at_most=65535)
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda where there is one")
    precision: str = option(
        "float32", "in which the encoder computes; int8: matrices on CPUs", ("float32", "float16", "bfloat16", "int8")
    )
    num_threads: int = option(0, "CPU threads of torch; 0: as many as it likes", at_least=0, at_most=1024)

    help_title, help_example = "server", ""


def is_local(host: str) -> bool:
    """Whether an address to listen on is the loopback address.

    >>> is_local("localhost"), is_local("127.0.0.1"), is_local("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(
    config: ServeConfig, options: Any, files: ResourceConfig, windows: WindowConfig, streams: LiveConfig, limits: Limits
) -> None:
    """Serve until the process is stopped.

    Raises:
      ValueError: if a package is missing, or for a model, resources or options that cannot be used.
    """
    check_packages()
    import torch

    from hainan_k2.server.app import make_app
    from hainan_k2.server.service import Service

    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    loaded = (config.model, config.method, options, files, windows, streams, config.device, config.precision)
    app = make_app(Service.load(*loaded), limits, is_local(config.host))
    with listen(config.host, config.port) as listener:
        logger.info(
            "listening: http://%s:%d",
            f"[{config.host}]" if ":" in config.host else config.host,
            listener.getsockname()[1],
        )
        server_of(app).run(sockets=[listener])


def check_packages() -> None:
    """ValueError if a package of the extra "serve" is missing."""
    try:
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise ValueError(f"{error}: pip install 'hainan_k2[serve]'") from None


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises ValueError if the address cannot be used."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ValueError(f"--host {host} --port {port}: {error.strerror or error}") from None


def server_of(app: Starlette) -> uvicorn.Server:
    """The HTTP server of an application. `run(sockets)` serves until the process is told to stop."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            ws_max_size=MESSAGE_BYTES,
            ws_ping_interval=None,  # a client that is slowed down cannot answer
            timeout_graceful_shutdown=GRACE,
            log_config=None,
            server_header=False,
        )
    )


def main(argv: Optional[Sequence[str]] = None) -> None:
    parsed = parse(
        argv,
        "Serve the words of recordings and of live audio on a port.",
        ServeConfig,
        SearchGrid,
        ResourceConfig,
        WindowConfig,
        LiveConfig,
        Limits,
    )
    start_logging()
    with errors_in_one_line():
        serve(*parsed)


if __name__ == "__main__":
    main()
