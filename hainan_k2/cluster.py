"""Cluster: chunks of work on the workers of a Dask cluster, with their results in order.

Dask does the rest: it starts a chunk again whose worker was killed, hands every result over once, and has a dashboard.
Workers must see the same files under the same paths.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

Result = TypeVar("Result")

PATIENCE = 60  # seconds until a scheduler that does not answer is given up
AHEAD = 4  # chunks per worker thread that are submitted before the first result is taken
# Dask makes its workers return freed memory to the system at once, and samples what they do every 10 ms.
# With both switched off, decoding takes half the CPU time.
WORKERS = {
    "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1},
    "distributed.worker.profile.enabled": False,
}
HELP = "workers of a Dask cluster to share the work: tcp://SCHEDULER:8786, or local:N for N processes here"

logger = logging.getLogger(__name__)


class Cluster:
    """The workers of a scheduler (tcp://...), or processes of this machine (local:4), which end with the context.

    Raises ValueError where dask.distributed is missing, the address is malformed, or no scheduler answers.

    >>> with Cluster("local:2") as cluster:
    ...     list(cluster.map(len, ["a", "bc"]))
    [1, 2]
    """

    def __init__(self, address: str):
        try:
            import dask
            from distributed import Client, LocalCluster
        except ImportError:
            raise ValueError(f"--dask {address} needs dask.distributed: pip install 'hainan-k2[dask]'") from None
        local = re.fullmatch(r"local:([1-9]\d{0,3})", address)
        if not local and not re.match(r"(tcp|tls|ws|wss|ucx)://", address):
            raise ValueError(f"--dask {address}: write tcp://SCHEDULER:8786, or local:4 for four processes")
        self.processes: Any = None
        if local:
            with dask.config.set(WORKERS):
                self.processes = LocalCluster(
                    n_workers=int(local[1]), threads_per_worker=1, memory_limit=0, dashboard_address=":0"
                )
        try:
            self.client: Any = Client(self.processes or address, timeout=PATIENCE)
        except (OSError, TimeoutError, ValueError) as error:
            raise ValueError(f"--dask {address}: no scheduler answers there: {error}") from None
        if not self.client.nthreads():
            logger.info("Dask: waiting for the first worker, which `dask worker %s` starts", address)
        self.client.wait_for_workers(1)
        logger.info("Dask: %d workers, dashboard at %s", len(self.client.nthreads()), self.client.dashboard_link)

    @property
    def ahead(self) -> int:
        """How many chunks are submitted before the first result is taken: some for every worker thread of now."""
        return AHEAD * sum(self.client.nthreads().values())

    def map(self, function: Callable[[Any], Result], chunks: Iterable[Any]) -> Iterator[Result]:
        """`function` of every chunk, in the order of the chunks, each computed by a worker.

        Chunks are taken from `chunks` while there is something to do for the workers, not all at once. A result is
        yielded as soon as it and those before it are there.

        Raises what `function` raises for a chunk, and ValueError for one whose workers were killed again and again.
        """
        waiting: deque[Any] = deque()
        for chunk in chunks:
            waiting.append(self.client.submit(function, chunk, pure=False))
            while waiting and (len(waiting) >= self.ahead or waiting[0].done()):
                yield self._result(waiting.popleft())
        while waiting:
            yield self._result(waiting.popleft())

    def _result(self, future: Any) -> Any:
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        try:
            return future.result()
        except KilledWorker as error:
            raise ValueError(f"a chunk was given up, because its workers were killed: {error}") from None
        except FutureCancelledError as error:
            raise ValueError(f"the connection to the Dask scheduler was lost: {error}") from None

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()
        if self.processes is not None:
            self.processes.close()
