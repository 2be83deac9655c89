"""Group: the batches of an update."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from hainan_k2.data.batch import Batch
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.training.ranks import Ranks


class Group(NamedTuple):
    """The batches of an update in this rank, and what all ranks need to know of it.

    Args:
      batches: that can be used, as many in every rank; maybe none.
      labels, seconds: of the batches in all ranks.
      read: batches of this rank that were read, usable or not.
    """

    batches: list[Batch]
    labels: int
    seconds: float
    read: int


def read_groups(
    batches: Iterable[Batch], size: int, ranks: Ranks, watch: Stopwatch, interrupts: Sequence[int] = ()
) -> Iterator[Group]:
    """The batches of this rank in groups of `size`; the last group may be smaller.

    A batch of which no cut can be read is left out and, in the other ranks, the batch at its place: ranks compute
    together. `watch` gets the seconds of "data".

    Raises KeyboardInterrupt in all ranks once there are signals in `interrupts`, and what `batches` raises in one.
    """
    iterator = iter(batches)

    def sizes() -> list[tuple[int, int, float]]:
        if interrupts:
            raise KeyboardInterrupt
        with watch.section("data"):
            group.extend(islice(iterator, size))
        return [(len(batch.ids), _labels(batch), sum(batch.seconds)) for batch in group]

    while True:
        group: list[Batch] = []
        listed = ranks.agreed(sizes)
        if not group:
            return
        usable = [min(count for count, _, _ in of_ranks) > 0 for of_ranks in zip(*listed)]
        used = [of_batch for of_rank in listed for of_batch, ok in zip(of_rank, usable) if ok]
        labels, seconds = sum(labels for _, labels, _ in used), sum(seconds for _, _, seconds in used)
        yield Group([batch for batch, ok in zip(group, usable) if ok], labels, seconds, len(group))


def _labels(batch: Batch) -> int:
    assert batch.target_lens is not None  # TrainingData has it
    return int(batch.target_lens.sum())
