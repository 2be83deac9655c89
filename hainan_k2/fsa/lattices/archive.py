"""Archives of lattices as Kaldi has them, in text or binary form: CompactLattice, or FSTs of OpenFst.

**CompactLattice**, for Kaldi's lattice tools: an acceptor over the outputs of the lattice (words of a graph or grammar,
otherwise tokens). The weight of an arc is its graph cost, -lm_scores, its acoustic cost, -(scores - lm_scores), and a
string with one label for every encoder frame of the arc, as Kaldi's tools count them: 1 + token on the first frame, 1,
for blank, on the others. A token that takes no frame is not in the string. So a frame shift of 0.08 s gives times.

    states   those of the lattice, without the ones between a token and its duration
    arcs     p -- word : (graph cost, acoustic cost, labels) --> q      for a token of p with a duration that leads to q
    final    the states before the lattice's final state, with the costs of the arc between

Every path of the lattice is one path, with the same score. **FST**: the same states and arcs as the lattice, tokens in,
outputs out, one cost. In both, an arc with several outputs (ragged aux_labels) is followed by arcs for all but the
first.
"""

from __future__ import annotations

import math
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hainan_k2.fsa.fsavec import arc_owner
from hainan_k2.fsa.k2 import Fsa
from hainan_k2.fsa.language.openfst_binary import FST_MAGIC
from hainan_k2.fsa.lattices.times import state_frames

State = tuple[int, ...]  # the number in the lattice; with the numbers of arc and output for states between outputs


class Arc(NamedTuple):
    """An arc on its way into an archive; costs are negative natural logarithms."""

    source: State
    target: State
    token: int
    outputs: tuple[int, ...]
    graph: float
    acoustic: float
    emits: bool  # whether it has a frame, as the arcs of tokens and blanks
    timed: bool  # whether it has a duration


class Machine(NamedTuple):
    """One lattice: its arcs, its final states with graph and acoustic cost, and the frame of every state."""

    arcs: list[Arc]
    finals: dict[State, tuple[float, float]]
    frames: dict[State, int]


def machines(lattice: Fsa, timed: bool, frame_lens: Tensor | None = None) -> Iterator[Machine]:
    """The lattices of an FsaVec; arcs that no path can take, of score -infinity, are left out.

    timed: find the frames of states, and which arcs have a duration.
    """
    lm_scores = getattr(lattice, "lm_scores", torch.zeros_like(lattice.scores))
    if not isinstance(lm_scores, Tensor):
        raise ValueError("the lattice's attribute lm_scores is ragged: one value per arc is needed")
    frames = state_frames(lattice, frame_lens).tolist() if timed else [0] * lattice.arcs.shape().tot_size(1)
    frame, duration = (lattice.frame, lattice.duration) if timed else (lattice.labels, lattice.labels)
    scores, lm_scores = lattice.scores.detach().double(), lm_scores.detach().double()
    columns = [*lattice.arcs.values()[:, :3].T.tolist(), _outputs(lattice), (0.0 - lm_scores).tolist()]
    columns += [(lm_scores - scores).tolist(), (frame >= 0).tolist(), (duration >= 0).tolist()]
    rows: list[list[Arc]] = [[] for _ in range(lattice.shape[0])]
    for owner, (source, target, *rest) in zip(arc_owner(lattice).tolist(), zip(*columns)):
        arc = Arc((source,), (target,), *rest)
        if math.isfinite(arc.acoustic):
            rows[owner].append(arc)
    first = 0
    for arcs, size in zip(rows, lattice.arcs.shape().row_splits(1).diff().tolist()):
        yield _with_finals(arcs, {(state,): frames[first + state] for state in range(size)})
        first += size


def _outputs(lattice: Fsa) -> list[tuple[int, ...]]:
    """The outputs of every arc, without epsilons."""
    aux = getattr(lattice, "aux_labels", lattice.labels)
    listed = [[value] for value in aux.tolist()] if isinstance(aux, Tensor) else aux.tolist()
    return [tuple(value for value in row if value > 0) for row in listed]


def _with_finals(arcs: Sequence[Arc], frames: dict[State, int]) -> Machine:
    """The arcs of label -1 as final costs, except further ones of a state, which lead to the final state."""
    kept, finals = [], {}
    for arc in arcs:
        if arc.token == -1 and arc.source not in finals and not arc.outputs:
            finals[arc.source] = arc.graph, arc.acoustic
        elif arc.token == -1:
            kept.append(arc._replace(token=0))
            finals[arc.target] = 0.0, 0.0
        else:
            kept.append(arc)
    return Machine(kept, finals, frames)


def merge_durations(machine: Machine) -> Machine:
    """Without the states between tokens and durations: each pair of arcs into and out of one becomes an arc.

    Such a state has only arcs out of it with neither token, blank nor output; of two merged arcs one has the duration.
    """
    into: dict[State, list[Arc]] = defaultdict(list)
    out_of: dict[State, list[Arc]] = defaultdict(list)
    for arc in machine.arcs:
        out_of[arc.source].append(arc)
    kept = []
    for state in sorted(machine.frames):  # the states before it have all their arcs into it already
        before, after = into.pop(state, []), out_of[state]
        silent = state not in machine.finals and not any(arc.token or arc.outputs or arc.emits for arc in after)
        pairs = [(a, b) for a in before for b in after if not (a.timed and b.timed)] if silent else []
        if pairs and len(pairs) == len(before) * len(after):
            merged = [
                a._replace(
                    target=b.target, graph=a.graph + b.graph, acoustic=a.acoustic + b.acoustic, timed=a.timed or b.timed
                )
                for a, b in pairs
            ]
        else:
            kept += before
            merged = after
        for arc in merged:
            into[arc.target].append(arc)
    return machine._replace(arcs=kept)


def _one_output_each(machine: Machine) -> Machine:
    """Arcs with several outputs become chains: the first arc has the costs, frames and token."""
    arcs, frames = [], dict(machine.frames)
    for number, arc in enumerate(machine.arcs):
        states = [arc.source, *((*arc.source, number, n) for n in range(1, len(arc.outputs))), arc.target]
        frames.update(dict.fromkeys(states[1:-1], frames[arc.target]))
        arcs.append(arc._replace(target=states[1], outputs=arc.outputs[:1]))
        for n, output in enumerate(arc.outputs[1:], 1):
            arcs.append(Arc(states[n], states[n + 1], 0, (output,), 0.0, 0.0, False, False))
    return machine._replace(arcs=arcs, frames=frames)


def numbered(machine: Machine) -> tuple[list[list[tuple[Arc, int]]], list[tuple[float, float] | None]]:
    """For every state, in topological order, its arcs with their target's number, and its final costs if it has any.

    The start is state 0; states that no arc touches are left out.
    """
    used = {(0,)} | {s for arc in machine.arcs for s in (arc.source, arc.target)} | set(machine.finals)
    order = sorted(used) if machine.finals else []
    number = {state: i for i, state in enumerate(order)}
    leaving: list[list[tuple[Arc, int]]] = [[] for _ in order]
    for arc in machine.arcs if order else []:
        leaving[number[arc.source]].append((arc, number[arc.target]))
    return leaving, [machine.finals.get(state) for state in order]


def archive(
    lattice: Fsa, names: Sequence[str], compact: bool, binary: bool, frame_lens: Tensor | None = None
) -> Iterator[bytes]:
    """The entry of every lattice of an FsaVec (B) in an archive, for B names; see the module's docstring.

    Args:
      compact: CompactLattice; else FST.
      frame_lens: as for state_frames; only a CompactLattice has frames.
    Raises:
      ValueError: as state_frames, for a CompactLattice; and for `lm_scores` that are ragged.
    """
    for name, machine in zip(names, machines(lattice, compact, frame_lens)):
        machine = _one_output_each(merge_durations(machine) if compact else machine)
        states, finals = numbered(machine)
        if binary:
            body = _binary(states, finals, compact, machine)
        else:
            body = ("\n" + _text(states, finals, compact, machine) + "\n").encode()
        yield f"{name} ".encode() + body


def _labels(arc: Arc, frames: dict[State, int]) -> list[int]:
    """The string of an arc of a CompactLattice."""
    count = frames[arc.target] - frames[arc.source]
    return [1 + arc.token, *[1] * (count - 1)] if count > 0 else []


def _text(
    states: list[list[tuple[Arc, int]]],
    finals: list[tuple[float, float] | None],
    compact: bool,
    machine: Machine,
) -> str:
    lines = []
    for number, (arcs, final) in enumerate(zip(states, finals)):
        for arc, target in arcs:
            (output,) = arc.outputs or (0,)
            if compact:
                labels = "_".join(map(str, _labels(arc, machine.frames)))
                lines.append(f"{number}\t{target}\t{output}\t{arc.graph:.9g},{arc.acoustic:.9g},{labels}\n")
            else:
                lines.append(f"{number} {target} {arc.token} {output} {arc.graph + arc.acoustic:.9g}\n")
        if final is not None:
            graph, acoustic = final
            cost = f"\t{graph:.9g},{acoustic:.9g}," if compact else f" {graph + acoustic:.9g}"
            lines.append(f"{number}{cost}\n")
    return "".join(lines)


def _binary(
    states: list[list[tuple[Arc, int]]],
    finals: list[tuple[float, float] | None],
    compact: bool,
    machine: Machine,
) -> bytes:
    """An OpenFst file: header, and for every state its final weight, the number of its arcs, and the arcs."""

    def weight(graph: float, acoustic: float, labels: Sequence[int] = ()) -> bytes:
        if compact:
            return struct.pack(f"<ffi{len(labels)}i", graph, acoustic, len(labels), *labels)
        return struct.pack("<f", graph + acoustic)

    kind = b"compactlattice44" if compact else b"standard"
    vector = struct.pack("<ii6si", FST_MAGIC, 6, b"vector", len(kind)) + kind
    start, total = (0 if states else -1), sum(map(len, states))
    parts = [vector, struct.pack("<iiQqqq", 2, 0, 3, start, len(states), total)]  # version 2; expanded and mutable
    for arcs, final in zip(states, finals):
        parts.append(weight(*(final or (math.inf, math.inf))) + struct.pack("<q", len(arcs)))
        for arc, target in arcs:
            (output,) = arc.outputs or (0,)
            label = output if compact else arc.token
            labels = _labels(arc, machine.frames) if compact else ()
            parts.append(struct.pack("<ii", label, output) + weight(arc.graph, arc.acoustic, labels))
            parts.append(struct.pack("<i", target))
    return b"".join(parts)
