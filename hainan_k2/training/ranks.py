"""Ranks: the processes of a training that torchrun started, each with its own batches and device."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Optional, TypeVar

import torch
import torch.distributed as dist

from hainan_k2.cli import reason
from hainan_k2.data.batches import TooManyUnreadable
from hainan_k2.device import pick_device
from hainan_k2.model.hainan import Hainan
from hainan_k2.model.norm import MaskedBatchNorm

TIMEOUT = timedelta(minutes=30)  # of a collective call: a rank may validate or write a checkpoint meanwhile
LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # environment variables of torchrun

Result = TypeVar("Result")


class Ranks:
    """The processes of a training: number `rank` of `size`, which computes on `device`. Rank 0 writes.

    With one process every method is the identity. Small values travel over gloo, whatever the backend of the
    gradients.

    >>> Ranks().agreed(lambda: "every rank's result")
    ["every rank's result"]
    """

    def __init__(self, rank: int = 0, size: int = 1, device: Optional[torch.device] = None):
        self.rank, self.size, self.device = rank, size, device or torch.device("cpu")
        self.control = dist.new_group(backend="gloo", timeout=TIMEOUT) if size > 1 else None

    @classmethod
    def of_environment(cls, device: str) -> Ranks:
        """The process group that torchrun's environment variables describe; a single process without them.

        Gradients are summed by NCCL on CUDA devices, by gloo on CPUs; `device` cuda is that of the local rank.

        Raises ValueError where there is no such device.
        """
        if not all(name in os.environ for name in LAUNCHER) or int(os.environ["WORLD_SIZE"]) == 1:
            return cls(device=pick_device(device))
        chosen = pick_device(device)
        if chosen.type == "cuda":
            chosen = pick_device(f"cuda:{os.environ['LOCAL_RANK']}")
            torch.cuda.set_device(chosen)
        # After a restart the store of torchrun may still hold the addresses of ranks that have ended.
        store, rank, size = next(dist.rendezvous("env://", timeout=TIMEOUT))
        store = dist.PrefixStore(f"restart-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        backend = "nccl" if chosen.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
        return cls(dist.get_rank(), dist.get_world_size(), chosen)

    @property
    def main(self) -> bool:
        """Whether this is the rank that writes."""
        return self.rank == 0

    def agreed(self, work: Callable[[], Result]) -> list[Result]:
        """Call `work` in every rank; returns the results of all ranks, in order, which must be small.

        Raises:
          ValueError, OSError, KeyboardInterrupt, TooManyUnreadable: in all ranks, where `work` raises one in any of
            them; the message names the rank. So no rank waits for one that has ended.
        """
        if self.size == 1:
            return [work()]
        own: Optional[BaseException] = None
        result: Any = None
        try:
            result = work()
        except (ValueError, OSError, KeyboardInterrupt) as error:
            own = error
        answers: list[Any] = [None] * self.size
        answer = (result, None) if own is None else (None, (_shared_kind(own), reason(own)))
        dist.all_gather_object(answers, answer, group=self.control)
        if own is not None:
            raise own
        for rank, (_, failure) in enumerate(answers):
            if failure is not None:
                kind, message = failure
                raise kind(f"rank {rank}: {message}")
        return [answer for answer, _ in answers]

    def share_statistics(self, model: Hainan) -> None:
        """Let the batch norms of the model take their statistics from the batches of all ranks."""
        if self.size > 1:
            for module in model.modules():
                if isinstance(module, MaskedBatchNorm):
                    module.group = dist.group.WORLD

    def close(self) -> None:
        """Leave the process group."""
        if self.size > 1:
            dist.destroy_process_group()


def _shared_kind(error: BaseException) -> type[BaseException]:
    """The class that other ranks raise for an error: others, such as UnicodeDecodeError, take more than a message."""
    kinds = TooManyUnreadable, ValueError, OSError, KeyboardInterrupt
    return next(kind for kind in kinds if isinstance(error, kind))


def lost_a_rank(error: RuntimeError) -> bool:
    """Whether a collective call failed because another rank has ended."""
    signs = ("closed by peer", "reset by peer", "Broken pipe", "gloo", "NCCL", "Socket Timeout")
    return any(sign in str(error) for sign in signs)
