"""Exact composition of decoding lattices with closed grammars, for a whole batch, and the words of its paths.

    states   (p, q): lattice state p, grammar state q
    start    (start, start)
    final    (final, final)
    arcs     (p, q) -- v : lattice score + grammar score -->     (p after v, q after v)     for a token v of both
             (p, q) -- epsilon : lattice score -->               (p after epsilon, q)       a blank or a duration

Only the lattice has epsilons, so that a path of the lattice together with a path of the grammar over the same tokens is
exactly one path of the composition. Sums over paths count nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hainan_k2.fsa.checks import check_lattice
from hainan_k2.fsa.fsavec import arc_owner
from hainan_k2.fsa.k2 import Fsa, load_k2
from hainan_k2.fsa.language.grammar import Grammar
from hainan_k2.fsa.language.output_words import output_words

MAX_COMPOSED_ARCS = 2**25  # about 5 GB in k2


def compose(lattice: Fsa, grammar: Grammar | Fsa, max_arcs: int = MAX_COMPOSED_ARCS) -> Fsa:
    """The paths of `lattice` that `grammar` accepts; states and arcs are those of the module's docstring.

    Args:
      lattice: k2.Fsa (FsaVec of B), topologically sorted, with label 0 as epsilon, e.g. from nar_lattice.
      grammar: a Grammar, or a k2.Fsa without epsilons whose labels are token ids: one for all utterances, or an FsaVec
        of 1 or B. The result has the attributes of the lattice and of the grammar: aux_labels of the grammar, if it has
        any, and the sum of lm_scores, if both have them.
      max_arcs: refuse compositions that may need more arcs than this.
    Returns:
      A k2.Fsa (FsaVec of B), connected and topologically sorted, with the lattice's `frame` and `duration`, so that
      shortest_path and hypotheses_from_lattice work on it. An utterance has no states if the grammar accepts none of
      its paths.
    Raises:
      ValueError: for a lattice that is a single FSA or not sorted; for a grammar with epsilons, on another device, of
        another batch size, or with an attribute that the lattice has too; and, with the sizes, for a composition that
        may need more than max_arcs arcs.

    >>> twice = k2.Fsa.from_str("0 1 5 0\\n1 2 5 0\\n2 3 -1 0\\n3")  # token 5 twice
    >>> composed = compose(lattice, twice)
    >>> hypotheses = hypotheses_from_lattice(shortest_path(composed), frame_lens, composed)
    """
    k2 = load_k2()
    check_lattice(lattice)
    batch, device = lattice.shape[0], lattice.labels.device
    fsa = _grammar_vec(grammar, lattice)
    if hasattr(fsa, "aux_labels"):
        lattice = _without_outputs(lattice)
    num_arcs = composed_arcs(lattice, fsa)
    if num_arcs > max_arcs:
        raise ValueError(
            f"a lattice of {lattice.num_arcs} arcs composed with a grammar of {fsa.num_arcs} has up to "
            f"{num_arcs} arcs, at most {max_arcs} are made: compose fewer utterances at once, or use a "
            "smaller grammar; for a large one an n-gram LM does (viterbi-lm)"
        )
    with_loops = k2.arc_sort(k2.add_epsilon_self_loops(fsa))
    which = torch.arange(batch) if fsa.shape[0] == batch else torch.zeros(batch)
    composed = k2.intersect_device(with_loops, lattice, which.int().to(device), sorted_match_a=True)
    return k2.connect(k2.top_sort(composed))


def _grammar_vec(grammar: Grammar | Fsa, lattice: Fsa) -> Fsa:
    """The grammar as an FsaVec that can be composed with the lattice, or ValueError."""
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
            f"the grammar has {epsilons} epsilon arcs (label 0), with which a path of the lattice would be counted "
            "several times: remove them by k2.remove_epsilon, or read the grammar by read_grammar, which removes them"
        )
    shared = {name for name, _ in fsa.named_tensor_attr(include_scores=False)} & {
        name for name, _ in lattice.named_tensor_attr(include_scores=False)
    } - {"labels", "aux_labels", "lm_scores"}
    if shared:
        raise ValueError(
            f"grammar and lattice both have the attribute {', '.join(sorted(shared))}: rename or delete one"
        )
    return fsa


def _without_outputs(lattice: Fsa) -> Fsa:
    """The lattice without its aux_labels, in whose place the composition has those of the grammar."""
    copy = load_k2().Fsa(lattice.arcs)
    copy.scores = lattice.scores
    for name, value in lattice.named_tensor_attr(include_scores=False):
        if name not in ("labels", "aux_labels"):
            setattr(copy, name, value)
            setattr(copy, f"{name}_filler", lattice.get_filler(name))
    return copy


def composed_arcs(lattice: Fsa, fsa: Fsa) -> int:
    """An upper bound of the arcs of the composition, as if all pairs of states could be reached.

    `fsa` is an FsaVec of one grammar, or of one per utterance.
    """
    if not lattice.num_arcs:
        return 0
    width = max(0, int(lattice.labels.max())) + 2  # one column for every label of the lattice, from -1

    def counts(fsas: Fsa) -> Tensor:
        """(B, width) number of arcs with every label."""
        in_lattice = fsas.labels < width - 1
        column = arc_owner(fsas)[in_lattice] * width + fsas.labels[in_lattice].long() + 1
        return torch.bincount(column, minlength=fsas.shape[0] * width).view(-1, width)

    of_lattice, of_grammar = counts(lattice), counts(fsa)
    of_grammar[:, 1] = fsa.arcs.shape().row_splits(1).diff() - 1  # epsilon loops
    return int((of_lattice * of_grammar).sum())


def path_sums(best: Fsa, values: Tensor) -> Tensor:
    """(B,) float64 sums of values (A,) over the arcs of each linear path."""
    total = torch.zeros(best.shape[0], dtype=torch.float64, device=values.device)
    return total.index_add_(0, arc_owner(best), values.double())


def path_outputs(best: Fsa, outputs: Sequence[str]) -> list[tuple[tuple[str, int, int], ...]]:
    """The output words of linear paths as (word, first token, end token), the form of Hypothesis.output.

    Args:
      best: linear FsaVec of B, from shortest_path of a composition with a transducer; `aux_labels` are indices of
        `outputs`.
    """
    ids: list[list[int]] = [[] for _ in range(best.shape[0])]
    at = (best.labels > 0).nonzero()[:, 0]
    for utterance, output in zip(arc_owner(best)[at].tolist(), best.aux_labels[at].tolist()):
        ids[utterance].append(output)
    return [output_words(own, outputs) for own in ids]
