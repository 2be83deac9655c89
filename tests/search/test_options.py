"""The help of an option says which methods take it: sweeps rely on that."""

import sys
from dataclasses import fields, replace

import pytest

from hainan_k2.fsa.language.hotwords import HotwordGraph
from hainan_k2.search import METHODS, SearchConfig, options
from hainan_k2.search.options import options_of
from tests.oracles.search import Speaker, encoder_output
from tests.search.test_methods import bigrams, resources_for

NAMES = {field.name for field in fields(SearchConfig)}


class Recorder(SearchConfig):
    """Knows which options were read, by others than dataclasses' own functions."""

    read: set = set()

    def __getattribute__(self, name):
        if name in NAMES and sys._getframe(1).f_globals["__name__"] not in (
            "dataclasses",
            options.__name__,
            "hainan_k2.config",
        ):
            Recorder.read.add(name)
        return super().__getattribute__(name)


@pytest.mark.parametrize("name", METHODS)
def test_the_help_names_the_methods_that_read_an_option(name):
    method, model = METHODS[name], Speaker(0)
    if method.needs_k2:
        pytest.importorskip("k2")
    size = model.vocab_size
    given = {"hotwords": HotwordGraph.build({(1, 2): 1.0}, [True] * size), "lodr_lm": bigrams(size)}
    resources = replace(resources_for(method, model), **{n: value for n, value in given.items() if n in method.uses})
    Recorder.read = set()
    for known in (resources, resources_for(method, model)):
        method.function(model, *encoder_output(0, [9, 4]), Recorder(grammar_threshold=0.0), known)
    # viterbi, which these fall back to, finds the same path whatever the top_k
    needless = {"top_k"} if name in ("grammar", "graph") else set()
    assert set(options_of(name)) <= Recorder.read <= set(options_of(name)) | needless


def test_every_option_is_some_methods():
    assert set().union(*map(options_of, METHODS)) == NAMES
