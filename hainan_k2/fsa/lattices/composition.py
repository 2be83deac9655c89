"""Exact composition of decoding lattices with closed grammars, a whole batch at once.

Of a lattice state p and a grammar state q, state (p, q):

    (p, q) --- token : lattice score + grammar score ---> (p', q')    where both have the token
    (p, q) --- epsilon : lattice score ---> (p', q)                   a blank or a duration: the grammar waits

Only the lattice has epsilons, and a grammar state meets them by a loop. So every pair of a lattice path and a reading
of its tokens is one path here, and sums over paths count nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Union

import torch
from torch import Tensor

from hainan_k2.fsa.checks import check_lattice
from hainan_k2.fsa.fsavec import arc_owner
from hainan_k2.fsa.k2 import load_k2
from hainan_k2.fsa.language.grammar import GLUE, Grammar

MAX_COMPOSED_ARCS = 2**25  # about 5 GB in k2


def compose(lattice, grammar: Union[Grammar, Any], max_arcs: int = MAX_COMPOSED_ARCS):
    """The paths of `lattice` that `grammar` accepts.

    Args:
      lattice: k2.Fsa (FsaVec of B), topologically sorted, of nar_lattice or any other function that keeps label 0 for
        epsilon.
      grammar: a Grammar, or a k2.Fsa without epsilons whose labels are token ids: one for all, or an FsaVec of 1 or B.
        Its attributes and the lattice's all come along.
      max_arcs: most arcs that k2 may have to make.
    Returns:
      A k2.Fsa (FsaVec of B), connected and topologically sorted, with the lattice's `frame` and `duration`, so that
      shortest_path and hypotheses_from_lattice work on it. An utterance has no states where the grammar accepts none
      of its paths.
    Raises:
      ValueError: on a lattice that is a single FSA or not sorted, a grammar with epsilons, of another device or batch
        size, with an attribute that the lattice has too, and, with sizes, before a composition of more than max_arcs
        arcs.
    """
    k2 = load_k2()
    check_lattice(lattice)
    batch, device = lattice.shape[0], lattice.labels.device
    fsa = _grammar_vec(grammar, lattice)
    sizes = composed_arcs(lattice, fsa)
    if sizes > max_arcs:
        raise ValueError(
            f"a lattice of {lattice.num_arcs} arcs composed with a grammar of {fsa.num_arcs} has up to "
            f"{sizes} arcs, at most {max_arcs} are made: compose fewer utterances at once, or use a "
            "smaller grammar; for a large one an n-gram LM does (viterbi-lm)"
        )
    waiting = k2.arc_sort(k2.add_epsilon_self_loops(fsa))
    which = torch.arange(batch) if fsa.shape[0] == batch else torch.zeros(batch)
    composed = k2.intersect_device(waiting, lattice, which.int().to(device), sorted_match_a=True)
    return k2.connect(k2.top_sort(composed))


def _grammar_vec(grammar: Union[Grammar, Any], lattice):
    """The grammar as an FsaVec that can be composed with the lattice."""
    k2 = load_k2()
    fsa = grammar.fsa(lattice.labels.device) if isinstance(grammar, Grammar) else grammar
    if not isinstance(fsa, k2.Fsa):
        raise ValueError(f"the grammar is of type {type(grammar).__name__}: give a Grammar or a k2.Fsa")
    fsa = k2.create_fsa_vec([fsa]) if len(fsa.shape) == 2 else fsa
    batch = lattice.shape[0]
    if fsa.labels.device != lattice.labels.device:
        raise ValueError(f"the grammar is on {fsa.labels.device}, the lattice on {lattice.labels.device}")
    if fsa.shape[0] not in (1, batch):
        raise ValueError(f"{fsa.shape[0]} grammars for {batch} utterances: give one for all, or one for each")
    epsilons = int((fsa.labels == 0).sum())
    if epsilons:
        raise ValueError(
            f"the grammar has {epsilons} epsilon arcs (label 0), which would meet the lattice's in many "
            "orders: remove them, or read it by read_grammar, which does"
        )
    shared = {name for name, _ in fsa.named_tensor_attr(include_scores=False)} & {
        name for name, _ in lattice.named_tensor_attr(include_scores=False)
    } - {"labels"}
    if shared:
        raise ValueError(
            f"grammar and lattice both have the attribute {', '.join(sorted(shared))}: rename or delete one"
        )
    return fsa


def composed_arcs(lattice, fsa) -> int:
    """An upper bound of the arcs in the composition of a lattice with an FsaVec of one grammar, or one per utterance:
    as if every pair of states could be reached."""
    if not lattice.num_arcs:
        return 0
    width = max(0, int(lattice.labels.max())) + 2  # a column for each of its labels, from -1

    def counts(fsas) -> Tensor:
        """(B, width): arcs of every label."""
        known = fsas.labels < width - 1
        column = arc_owner(fsas)[known] * width + fsas.labels[known].long() + 1
        return torch.bincount(column, minlength=fsas.shape[0] * width).view(-1, width)

    ours, theirs = counts(lattice), counts(fsa)
    theirs[:, 1] = fsa.arcs.shape().row_splits(1).diff() - 1  # loops where the grammar waits
    return int((ours * theirs).sum())


def path_sums(best, values: Tensor) -> Tensor:
    """(B,) float64: what values (A,) of the arcs of linear paths add up to on each."""
    total = torch.zeros(best.shape[0], dtype=torch.float64, device=values.device)
    return total.index_add_(0, arc_owner(best), values.double())


def path_outputs(best, outputs: Sequence[str]) -> list[tuple[tuple[str, int, int], ...]]:
    """What linear paths put out, as Hypothesis.output has it; where an output ends in @@, the next one is joined to it.

    Args:
      best: linear FsaVec of B, as from shortest_path, of a composition with a transducer: `aux_labels` index `outputs`.

    The words of an output last from the token it stands on to the next output, be that an empty one.
    """
    said: list[list[list]] = [[] for _ in range(best.shape[0])]
    tokens = [0] * best.shape[0]
    at = (best.labels > 0).nonzero()[:, 0]
    for utterance, output in zip(arc_owner(best)[at].tolist(), best.aux_labels[at].tolist()):
        if output > 0:
            said[utterance].append([outputs[output], tokens[utterance], 0])
        tokens[utterance] += 1
        if said[utterance]:
            said[utterance][-1][2] = tokens[utterance]
    return [tuple(_words(spans)) for spans in said]


def _words(spans: list[list]) -> list[tuple[str, int, int]]:
    """Outputs, of several words or none each, as words; the words of one output have the same span."""
    words: list[tuple[str, int, int]] = []
    glued = False
    for text, first, end in spans:
        for word in text.split():
            if glued:
                before = words.pop()
                words.append((before[0][: -len(GLUE)] + word, before[1], end))
            else:
                words.append((word, first, end))
            glued = word.endswith(GLUE)
    if glued:
        text, first, end = words.pop()
        words.append((text[: -len(GLUE)], first, end))
    return words
