"""Search a batch of encoder output so that an utterance that fails costs no other utterance."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Union

from torch import Tensor

from hainan_k2.inference.failures import FailureLog
from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Hypothesis
from hainan_k2.search import METHODS, DecodingResources
from hainan_k2.search.sweep import Row

Outcome = Union[Hypothesis, str]  # of one utterance: a hypothesis, or the reason why there is none

failures = FailureLog()  # of all searches of this process


def group_rows(rows: Sequence[Row]) -> list[list[Row]]:
    """Group the rows that one search call can serve: same method, and options that differ only in `Method.sweeps`.

    A row of a method that sweeps nothing is a group of its own, even if another row is equal to it.
    """
    groups: dict[tuple, list[Row]] = {}
    for number, row in enumerate(rows):
        swept = METHODS[row.method].sweeps
        fixed = [value for name, value in vars(row.options).items() if name not in swept]
        groups.setdefault((row.method, *fixed) if swept else (number,), []).append(row)
    return list(groups.values())


def search_batch(
    model: Hainan,
    encoder_out: Tensor,
    lens: Tensor,
    group: Sequence[Row],
    resources: DecodingResources,
    ids: Sequence[str],
) -> list[list[Outcome]]:
    """Search every utterance of a batch, each as a whole, with every row of a group (see `group_rows`).

    If the search of the batch raises, its utterances are searched again one by one and row by row. The log then has a
    line for each utterance that fails, and a traceback where the error points at a mistake in the program.

    Args:
      encoder_out: (B, T, C) frames of 80 ms; lens: (B,) frames of each utterance.
      ids: names of the B utterances, for the log.
    Returns:
      A list per row with B outcomes: a Hypothesis, or the reason of the failure in one line.
    """
    method = METHODS[group[0].method]
    function: Any = method.function
    try:
        if len(group) > 1:
            return function.sweep(model, encoder_out, lens, [row.options for row in group], resources)
        return [function(model, encoder_out, lens, group[0].options, resources)]
    except Exception as error:
        message = f"{method.name} failed on a batch of {len(ids)} utterances; searching them one by one"
        failures.report(logging.WARNING, message, error)

    def search_one(b: int, row: Row) -> Outcome:
        try:
            utterance = encoder_out[b : b + 1, : int(lens[b])], lens[b : b + 1]
            (outcome,) = function(model, *utterance, row.options, resources)
            return outcome
        except Exception as error:
            return failures.report(logging.ERROR, f"{row.label} failed on utterance {ids[b]}", error)

    return [[search_one(b, row) for b in range(len(ids))] for row in group]
