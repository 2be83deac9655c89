"""Grammars for tests: made from texts, drawn, and read back from their tensors."""

import pytest
from hypothesis import strategies as st

from hainan_k2.fsa.language.automaton import Arc, Automaton
from hainan_k2.fsa.language.grammar import read_grammar
from tests.oracles import grammar as oracle
from tests.oracles.grammar import LetterTokenizer

LETTERS = LetterTokenizer()


def compiled(tmp_path, text, tokenizer=LETTERS, **options):
    path = tmp_path / "g"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_grammar(path, tokenizer, **options)


def refused(tmp_path, text, **options):
    """The one line that a file is refused with, without its folder."""
    with pytest.raises(ValueError) as caught:
        compiled(tmp_path, text, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{tmp_path}/", "")


def as_automaton(grammar):
    """What the tensors of a grammar say."""
    arcs, finals = [], {}
    for (source, target, label, output), score in zip(grammar.arcs.tolist(), grammar.scores.tolist()):
        if label == -1:
            finals[source] = score
        else:
            arcs.append(Arc(source, target, label, tuple(grammar.outputs[output].split()), score))
    return Automaton(0, tuple(arcs), finals)


def accepts(grammar, ids):
    states = {0}
    for label in [*ids, -1]:
        states = {t for s, t, arc_label, _ in grammar.arcs.tolist() if s in states and arc_label == label}
    return bool(states)


def outputs_of(grammar, ids):
    """All texts that a transducer puts out for token ids."""
    paths = {(0, ())}
    arcs = grammar.arcs.tolist()
    for label in [*ids, -1]:
        paths = {
            (t, out + (grammar.outputs[o],))
            for s, out in paths
            for a, t, arc_label, o in arcs
            if a == s and arc_label == label
        }
    return {oracle.join(out) for _, out in paths}


@st.composite
def automata(draw, num_labels=3):
    """Of 2 to 5 states, with epsilons that lead to larger states only, so that they have no cycle."""
    num_states = draw(st.integers(2, 5))
    arcs = []
    for _ in range(draw(st.integers(1, 9))):
        source, target = draw(st.integers(0, num_states - 1)), draw(st.integers(0, num_states - 1))
        label = draw(st.integers(0 if target > source else 1, num_labels))
        output = draw(st.sampled_from(((), (), ("x",), ("y", "z"))))
        arcs.append(Arc(source, target, label, output, draw(st.integers(-8, 0)) / 4))
    finals = draw(st.dictionaries(st.integers(0, num_states - 1), st.sampled_from((0.0, -0.5)), min_size=1, max_size=2))
    return Automaton(0, tuple(arcs), finals)
