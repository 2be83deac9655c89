"""Readers of Kaldi's archives, after Kaldi's and OpenFst's description of the formats: what tests compare with.

An FST is ({state: [(target, input, output, weight)]}, {state: final weight}); its start is state 0. A weight is a cost,
or (graph cost, acoustic cost, labels) of a CompactLattice.
"""

import math
import struct
from io import BytesIO


def read_archive(data, compact):
    """{name: FST} of the bytes of an archive, text or binary, whose entries may be of both kinds."""
    stream, fsts = BytesIO(data), {}
    while True:
        name = b"".join(iter(lambda: stream.read(1).strip(), b"")).decode()
        if not name:
            return fsts
        at = stream.tell()
        binary = stream.read(1) == b"\xd6"  # the first byte of OpenFst's magic number
        stream.seek(at)
        fsts[name] = read_binary(stream, compact) if binary else read_text(stream, compact)


def read_text(stream, compact):
    assert stream.readline() == b"\n"
    arcs, finals = {}, {}
    while (line := stream.readline()).strip():
        fields = line.decode().split()
        width = 3 if compact else 4  # an acceptor's arc: source, target, label
        weight = fields[-1]
        if compact:
            graph, acoustic, labels = weight.split(",")
            weight = float(graph), float(acoustic), [int(x) for x in labels.split("_") if x]
        else:
            weight = float(weight)
        if len(fields) == 2:
            finals[int(fields[0])] = weight
        else:
            assert len(fields) == width + 1
            arcs.setdefault(int(fields[0]), []).append((int(fields[1]), int(fields[2]), int(fields[width - 1]), weight))
    return arcs, finals


def read_binary(stream, compact):
    def take(form):
        return struct.unpack("<" + form, stream.read(struct.calcsize("<" + form)))

    def string():
        return stream.read(*take("i")).decode()

    def weight():
        if not compact:
            return take("f")[0]
        graph, acoustic, count = take("ffi")
        return graph, acoustic, list(take(f"{count}i"))

    assert take("i") == (2125659606,) and string() == "vector"
    assert string() == ("compactlattice44" if compact else "standard")
    version, flags, _, start, num_states, num_arcs = take("iiQqqq")
    assert version == 2 and flags == 0 and start == (0 if num_states else -1)
    arcs, finals = {}, {}
    for state in range(num_states):
        final = weight()
        if (final[0] if compact else final) < math.inf:
            finals[state] = final
        for _ in range(*take("q")):
            ilabel, olabel = take("ii")
            cost = weight()
            arcs.setdefault(state, []).append((*take("i"), ilabel, olabel, cost))
    assert sum(map(len, arcs.values())) == num_arcs
    return arcs, finals


def compact_paths(fst, state=0):
    """Every path of a CompactLattice: (words, labels of its frames, graph cost, acoustic cost)."""
    arcs, finals = fst
    if state in finals:
        graph, acoustic, labels = finals[state]
        yield (), tuple(labels), graph, acoustic
    for target, word, same, (graph, acoustic, labels) in arcs.get(state, []):
        assert word == same and target > state
        for words, rest, more_graph, more_acoustic in compact_paths(fst, target):
            yield (word,) * (word > 0) + words, (*labels, *rest), graph + more_graph, acoustic + more_acoustic
