"""The lattice of an autoregressive search that keeps everything, against every alignment and automaton path."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.lattices.nbest import best_texts, text_scores
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, shortest_path
from hainan_k2.fsa.lattices.store import load_lattice, save_lattice
from hainan_k2.search import METHODS, NO_RESOURCES, SearchConfig
from hainan_k2.search.beam import make_ar_lattice
from tests.oracles import ar as oracle
from tests.oracles.search import Speaker, encoder_output
from tests.search.test_ar_automata import KINDS, VOCAB, automata, folder  # noqa: F401

k2 = pytest.importorskip("k2")

EVERYTHING = SearchConfig(
    beam=10**4, beam_durations=9, lm_scale=0.6, lodr_scale=0.3, duration_scale=0.7, blank_penalty=0.2, token_bonus=0.3
)


def lattice_of(model, encoded, lens, options, resources):
    return make_ar_lattice(model, model.joiner.project_encoder(encoded), lens, options, resources)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS), guide=st.sampled_from(("nar", "none")))
def test_its_total_and_its_best_path_are_those_of_all_alignments(folder, data, seed, kind, guide):  # noqa: F811
    durations, max_symbols = kind
    resources, score_of = data.draw(automata(folder))
    predictor, context = data.draw(st.sampled_from((("lstm", 0), ("stateless", 0), ("stateless", 1))))
    model = Speaker(seed, VOCAB, durations, predictor, blank_bias=0.0)
    encoded, lens = encoder_output(seed, [3, 1, 0, 2])
    options = replace(EVERYTHING, max_symbols=max_symbols, guide=guide, context_tokens=context)
    lattice = lattice_of(model, encoded, lens, options, resources)
    totals, bests = (lattice.get_tot_scores(use_double_scores=True, log_semiring=log) for log in (True, False))
    scores = (lattice.scores - lattice.lm_scores).clone()
    texts = best_texts(lattice, 5)
    by_text = text_scores(lattice, texts.utterance, texts.texts())
    hypotheses = hypotheses_from_lattice(shortest_path(lattice), lens, lattice)
    for b, (row, length) in enumerate(zip(encoded, lens.tolist())):
        alignments = list(oracle.paths(model, row[:length], max_symbols, 0.7, 0.2, 0.3))
        total, best, expected = oracle.total_and_best(alignments, score_of)
        assert float(totals[b]) == pytest.approx(total, abs=1e-4)
        assert float(bests[b]) == pytest.approx(best, abs=1e-4)
        for text, score in zip(texts.texts(), by_text.tolist()):
            if int(texts.utterance[texts.texts().index(text)]) == b and texts.texts().count(text) == 1:
                assert score == pytest.approx(expected[tuple(text)], abs=1e-4)
        if best > -math.inf:
            tokens = [(token.id, token.frame, token.duration) for token in hypotheses[b].tokens]
            weight = max(w for w, _ in score_of(hypotheses[b].ids))
            assert any(path == tokens and score + weight > best - 1e-4 for path, score in alignments)
    assert torch.isfinite(scores).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(KINDS), st.integers(0, 2), st.sampled_from(("lstm", "stateless")))
def test_a_pruned_lattice_holds_the_hypotheses_of_the_beam(seed, kind, context, predictor):
    model = Speaker(seed, 5, kind[0], predictor, blank_bias=0.5)
    encoded, lens = encoder_output(seed, [12, 0, 7])
    options = SearchConfig(max_symbols=kind[1], beam=3, context_tokens=context, nbest=3)
    lattice = lattice_of(model, encoded, lens, options, NO_RESOURCES)
    found = METHODS["ar-beam"].function(model, encoded, lens, options)
    pairs = [(b, list(h.ids), h.score) for b, hypothesis in enumerate(found) for h in hypothesis.alternatives]
    utterance = torch.tensor([b for b, _, _ in pairs])
    totals = text_scores(lattice, utterance, [ids for _, ids, _ in pairs])
    for (_, _, score), total in zip(pairs, totals.tolist()):
        assert total >= score - 1e-4
    for b, length in enumerate(lens.tolist()):
        single = lattice_of(model, encoded[b : b + 1, :length], lens[b : b + 1], options, NO_RESOURCES)
        assert single.num_arcs == lattice[b].num_arcs
        assert single.scores.tolist() == pytest.approx(lattice[b].scores.tolist(), abs=1e-5)


def test_it_is_stored_with_all_attributes(tmp_path):
    model = Speaker(1, 5, (0, 1, 2), blank_bias=0.5)
    encoded, lens = encoder_output(1, [9, 4])
    lattice = lattice_of(model, encoded, lens, SearchConfig(), NO_RESOURCES)
    save_lattice(lattice, tmp_path / "l.safetensors")
    loaded, _ = load_lattice(tmp_path / "l.safetensors")
    for name in ("labels", "aux_labels", "frame", "duration", "scores", "lm_scores"):
        assert getattr(loaded, name).tolist() == getattr(lattice, name).tolist()
    assert lattice.aux_labels.tolist() == lattice.labels.tolist() and not lattice.lm_scores.any()
