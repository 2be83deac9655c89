"""What an autoregressive search keeps for its lattice: the states of its hypotheses, and all arcs between them."""

from __future__ import annotations

import torch
from torch import Tensor

from hainan_k2.fsa.lattices.ar_lattice import ArArcs
from hainan_k2.search.ar_columns import NUMBER, PLACE, STATE, TIME, TOKEN, merge
from hainan_k2.search.ar_pool import Pool
from hainan_k2.search.ar_step import Extension


class Recorder:
    """States and arcs of a search, step by step. The states of a step are numbered in the order of its hypotheses."""

    def __init__(self, columns: Tensor) -> None:
        """columns: (COLUMNS, B, 1) of the start states, numbered 0 ... B - 1."""
        self.states = [columns[[TIME, STATE], :, 0]]
        self.owners = [torch.arange(columns.shape[1], device=columns.device)]
        self.size = columns.shape[1]
        self.arcs: list[tuple[Tensor, ...]] = []
        self.scores: list[tuple[Tensor, Tensor]] = []

    def add(self, pool: Pool, score: Tensor, at: Tensor, columns: Tensor) -> None:
        """Record a step, and set the NUMBER of every hypothesis that it has kept.

        Args:
          score: (B, P) of the pool after merging.
          at: (B, K) the places in the pool that are kept, -1 of none; columns: (COLUMNS, B, K) of these.
        """
        step, kept = pool.step, at.shape[1]
        place = pool.column(PLACE)
        numbers = torch.full_like(place, -1)
        waiting = torch.where(pool.waiting > -torch.inf, pool.old[NUMBER], -1)
        numbers[:, -pool.width :] = waiting.view(-1, pool.width)
        _, head = merge(score, place, add=False)
        exists = at >= 0
        row = torch.arange(pool.batch, device=at.device)[:, None].expand_as(at)
        slot = torch.full_like(head, -1)
        slot[row[exists], at[exists]] = torch.arange(kept, device=at.device).expand_as(at)[exists]
        slot = slot.gather(1, head)  # of the state that every place of the pool belongs to
        known = torch.full_like(head, -1).scatter_reduce_(1, head, numbers, "amax")
        number = torch.where(exists, known.gather(1, at.clamp(min=0)), 0)
        new = number < 0
        count = int(new.sum())
        number[new] = torch.arange(self.size, self.size + count, device=at.device)
        columns[NUMBER] = number
        self.size += count
        self.states.append(columns[[TIME, STATE]][:, new])
        self.owners.append(row[new])

        owner = torch.div(pool.chosen, pool.width, rounding_mode="floor")
        targets = pool.continuations(slot)
        source, continuation = ((targets >= 0) & (step.score > -torch.inf)).nonzero().unbind(1)
        choice = torch.div(continuation, step.duration.shape[1], rounding_mode="floor")
        self.arcs.append(
            (
                step.source[NUMBER][source],
                number[owner[source], targets[source, continuation]],
                step.columns[TOKEN][source, continuation],
                step.duration[source, continuation % step.duration.shape[1]],
                step.choices.arc[source, (choice - 1).clamp(min=0)],
            )
        )
        lm_score = torch.zeros_like(source, dtype=torch.float64)
        if step.lm_score is not None:
            lm_score = step.lm_score[source, choice]
        self.scores.append((step.model_score.flatten(1)[source, continuation], lm_score))

    def result(self, extension: Extension) -> ArArcs:
        """All states and arcs."""
        automaton, begins, ends = extension.automaton, extension.begins, extension.ends
        time, state = torch.cat(self.states, dim=1)
        row = torch.div(time, extension.symbols, rounding_mode="floor")
        utterance = torch.cat(self.owners)
        final = torch.where(row == ends[utterance], automaton.final(state), -torch.inf)
        none = utterance[:0]
        source, target, label, duration, arc = (torch.cat(column) for column in zip((none,) * 5, *self.arcs))
        model_score, lm_score = (torch.cat(column) for column in zip((final[:0],) * 2, *self.scores))
        output = label if automaton.graph is None else torch.where(label > 0, automaton.graph.output[arc], 0)
        frame = row - begins[utterance]
        count = time % extension.symbols
        return ArArcs(utterance, frame, count, final, source, target, label, duration, output, model_score, lm_score)
