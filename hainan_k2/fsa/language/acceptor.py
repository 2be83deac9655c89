"""Acceptors over word ids: the language model G of a word graph, from an ARPA file or OpenFst text.

An n-gram model has a state for every history h, the start being that of <s>, and

    (h) --- w : log P(w | h) ---> (longest history that ends h w)        for every n-gram h w
    (h) --- #0 : log backoff(h) ---> (h without its first word)
    (h) final with log P(</s> | h)                                       where h </s> is an n-gram
"""

from __future__ import annotations

import gzip
import importlib.util
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hainan_k2.fsa.language.lexicon import BACKOFF
from hainan_k2.fsa.language.ngram import NgramLm

_MAX_ARCS = 2**28  # 4 GB of them in k2


@dataclass(frozen=True, eq=False)
class Acceptor:
    """S states, 0 is the start; N arcs. Scores are natural logarithms."""

    source: np.ndarray  # (N,) int64
    target: np.ndarray  # (N,) int64
    label: np.ndarray  # (N,) int64
    score: np.ndarray  # (N,) float64
    final: np.ndarray  # (S,) float64, -inf where a state is not final

    def arcs(self) -> torch.Tensor:
        """(A, 4) int32: the arcs as k2 has them."""
        (ending,) = np.isfinite(self.final).nonzero()
        ends = np.stack([ending, np.full_like(ending, len(self.final)), np.full_like(ending, -1)], axis=1)
        arcs = np.stack([self.source, self.target, self.label], axis=1)
        return k2_arcs(np.concatenate([arcs, ends]), np.concatenate([self.score, self.final[ending]]))[0]

    def text(self) -> str:
        """OpenFst text with label ids, the start state first."""
        arcs = zip(*(column.tolist() for column in (self.source, self.target, self.label, -self.score)))
        lines = [(source, f"{source} {target} {label} {label} {cost:.7g}\n") for source, target, label, cost in arcs]
        lines += [(s, f"{s} {-score:.7g}\n") for s, score in enumerate(self.final) if math.isfinite(score)]
        return "".join(line for _, line in sorted(lines, key=lambda numbered: numbered[0]))


def read_acceptor(text: str, name: str, num_labels: int) -> Acceptor:
    """An acceptor in OpenFst text: lines `source target label label [cost]` and `state [cost]`; output ids are ignored
    where they are 0.

    Args:
      name: the file's name, for messages.
      num_labels: labels are below it.
    Raises:
      ValueError: "FILE:LINE: ..." for a line of another form, "FILE: ..." without final state or with a cycle of
        epsilons.
    """
    states: dict[int, int] = {}
    arcs, ends = [], {}
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.split(None, 5)
        if not fields:
            continue
        try:
            costs = [float(field) for field in fields[4:] or fields[1:2] * (len(fields) < 3)]
            ids = [int(field) for field in fields[: 4 if len(fields) > 2 else 1]]
        except ValueError:
            costs, ids = [], []
        if len(fields) not in (1, 2, 4, 5) or not ids or min(ids) < 0 or not all(map(math.isfinite, costs)):
            raise ValueError(
                f"{name}:{number}: {line[:60]!r} is neither an arc `source target label label [cost]` nor "
                "a final state `state [cost]`"
            )
        source, cost = states.setdefault(ids[0], len(states)), sum(costs)
        if len(ids) == 1:
            ends[source] = -cost
            continue
        target, label, output = states.setdefault(ids[1], len(states)), *ids[2:]
        if label >= num_labels:
            raise ValueError(f"{name}:{number}: label {label} is not in the symbol table of {num_labels}")
        if output not in (label, 0):
            raise ValueError(f"{name}:{number}: {label} becomes {output}: a language model is an acceptor")
        arcs.append((source, target, label, -cost))
    if not ends:
        raise ValueError(f"{name}: no final state, so it accepts nothing")
    final = np.full(len(states), -math.inf)
    final[list(ends)] = list(ends.values())
    table = np.array([arc[:3] for arc in arcs], dtype=np.int64).reshape(-1, 3)
    return Acceptor(*table.T, np.array([arc[3] for arc in arcs], dtype=np.float64), final)


def read_arpa_acceptor(path: Path, words: Sequence[str]) -> Acceptor:
    """The acceptor of an ARPA file, plain or gzipped, made by kaldilm.

    Args:
      words: the symbol table, as of hainan_k2.fsa.language.lexicon.
    Raises:
      ValueError: "FILE:LINE: ..." for what is no ARPA file of these words, "FILE: ..." where no sentence can end.
    """
    if importlib.util.find_spec("kaldilm") is None:
        raise ValueError("kaldilm is not installed: pip install hainan_k2[lm]")
    NgramLm.read(str(path), [word for word in words if word not in ("<s>", "</s>", BACKOFF)])
    data = path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:  # kaldilm aborts the process that it refuses a file in
        plain, table = Path(folder, "lm.arpa"), Path(folder, "words.txt")
        plain.write_bytes(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
        table.write_text("".join(f"{word} {i}\n" for i, word in enumerate(words)), encoding="utf-8")
        command = [sys.executable, "-m", "kaldilm", f"--read-symbol-table={table}", f"--disambig-symbol={BACKOFF}"]
        made = subprocess.run([*command, plain], capture_output=True, text=True, encoding="utf-8")
    if made.returncode:
        reasons = [line for line in made.stderr.splitlines() if line.startswith("[E]")] or [made.stderr.strip()[-200:]]
        raise ValueError(f"{path}: kaldilm refuses it: {reasons[0]}")
    return read_acceptor(made.stdout, str(path), len(words))


def remove_epsilons(grammar: Acceptor, epsilons: Sequence[int]) -> Acceptor:
    """The same sentences with the same best scores, without arcs of the labels `epsilons`.

    An arc into h gets a twin, with the epsilons' score added, into every state that epsilons lead to from h. State 0 is
    a new start, with what leaves the old start and the states that epsilons lead to from there.

    Raises:
      ValueError: for a cycle of epsilons, or too many arcs.
    """
    silent = np.isin(grammar.label, epsilons)
    columns = (grammar.source, grammar.target, grammar.score)
    origin, landing, weight = _closure(*(column[silent] for column in columns), len(grammar.final))
    arcs = np.stack([grammar.source, grammar.target, grammar.label], axis=1)[~silent]
    score = grammar.score[~silent]
    arc, way = join(arcs[:, 1], origin)
    twins = np.stack([arcs[arc, 0], landing[way], arcs[arc, 2]], axis=1)
    arcs, score = np.concatenate([arcs, twins]), np.concatenate([score, score[arc] + weight[way]])

    begin = np.full_like(grammar.final, -math.inf)  # the best score of epsilons from the old start to every state
    begin[0] = 0.0
    np.maximum.at(begin, landing[origin == 0], weight[origin == 0])
    leaving = np.isfinite(begin[arcs[:, 0]])
    copies = np.stack([np.full(leaving.sum(), -1), *arcs[leaving, 1:].T], axis=1)
    score = np.concatenate([score[leaving] + begin[arcs[leaving, 0]], score])
    arcs = np.concatenate([copies, arcs]) + (1, 1, 0)
    return Acceptor(*arcs.T, score, np.append((begin + grammar.final).max(), grammar.final))


def _closure(
    source: np.ndarray, target: np.ndarray, score: np.ndarray, num_states: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(source, target, score) of every way along these arcs, sources ascending; of ways of as many arcs from one state
    to another, only the best one. ValueError for a cycle."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    links = coo_matrix((np.ones(len(source)), (source, target)), (num_states, num_states))
    if (source == target).any() or connected_components(links, connection="strong")[0] < num_states:
        raise ValueError("the word graph has a cycle of epsilons or back-off arcs")
    order = np.argsort(source)
    source, target, score = source[order], target[order], score[order]
    ways = [(source, target, score)]
    while len(ways[-1][0]):
        start, middle, so_far = ways[-1]
        way, arc = join(middle, source)
        name, which = np.unique(start[way] * num_states + target[arc], return_inverse=True)
        best = np.full(len(name), -math.inf)
        np.maximum.at(best, which, so_far[way] + score[arc])
        ways.append((name // num_states, name % num_states, best))
    columns = [np.concatenate(column) for column in zip(*ways)]
    order = np.argsort(columns[0])
    return columns[0][order], columns[1][order], columns[2][order]


def join(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All (i, j) with left[i] == right[j]; right ascends. ValueError if they are more than arcs can be."""
    first = np.searchsorted(right, left)
    count = np.searchsorted(right, left, side="right") - first
    total = int(count.sum())
    if total > _MAX_ARCS:
        raise ValueError(
            f"the word graph would have about {total} arcs, at most {_MAX_ARCS} are built: prune the language model"
        )
    i = np.repeat(np.arange(len(left)), count)
    return i, np.arange(total) - (np.cumsum(count) - count - first)[i]


def k2_arcs(table: np.ndarray, score: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    """Arcs (source, target, label, ...) in any order, and their scores, as k2 has them: (A, 4) int32, sorted by source
    and label (-1 last), with the bits of float32 scores; and the order that they were brought into."""
    order = np.lexsort((table[:, 2].astype(np.uint32), table[:, 0]))
    bits = score[order].astype(np.float32).view(np.int32)
    return torch.from_numpy(np.column_stack([table[order, :3].astype(np.int32), bits])), order
