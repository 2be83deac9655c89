"""Searches that make lists of texts and order them, once or with each of several options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources


class ListSearch(ABC):
    """A search function whose lists do not depend on the options `orders_by`: these only say how lists are ordered."""

    orders_by: ClassVar[tuple[str, ...]]

    def __call__(
        self,
        model: Hainan,
        encoder_out: Tensor,
        lens: Tensor,
        options: SearchConfig,
        resources: DecodingResources = NO_RESOURCES,
    ) -> list[Hypothesis]:
        """The best texts of encoder_out (B, T, C), lens (B,)."""
        return self.search(model, encoder_out, lens, [options], resources)[0]

    def sweep(
        self,
        model: Hainan,
        encoder_out: Tensor,
        lens: Tensor,
        points: Sequence[SearchConfig],
        resources: DecodingResources = NO_RESOURCES,
    ) -> list[list[Hypothesis]]:
        """The same with each of several options, from one list. They may differ in the options `orders_by` alone.

        Raises ValueError where they differ in others, which change the list.
        """
        same = {name: getattr(points[0], name) for name in self.orders_by}
        if any(replace(point, **same) != points[0] for point in points):
            raise ValueError(
                f"the points of a sweep differ in more than {', '.join(self.orders_by)}: so do their lists"
            )
        return self.search(model, encoder_out, lens, points, resources)

    @abstractmethod
    def search(
        self,
        model: Hainan,
        encoder_out: Tensor,
        lens: Tensor,
        points: Sequence[SearchConfig],
        resources: DecodingResources,
    ) -> list[list[Hypothesis]]:
        """For each of `points` a Hypothesis for every utterance; the lists are made with the first."""
