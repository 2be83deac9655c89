"""The method rescore against its terms, computed one text at a time."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.search import METHODS, DecodingResources, SearchConfig
from hainan_k2.search import nbest as nbest_module
from hainan_k2.search.viterbi_lm import NO_PATH
from tests.oracles.lm import DictionaryLm
from tests.oracles.search import Speaker, batches, encoder_output
from tests.search.test_list_scores import expected
from tests.search.test_methods import bigrams

pytest.importorskip("k2")
LIST = SearchConfig(top_k=3, num_paths=6, nbest=6, lm_scale=0.4, lattice_beam=math.inf, lattice_states=10**6)


def search(batch, options=LIST, resources=None):
    return METHODS["rescore"].function(*batch, options, resources or DecodingResources(lm=bigrams(batch[0].vocab_size)))


def scores(hypothesis):
    return {h.ids: h.score for h in hypothesis.alternatives}


def ctc_score(model, encoded, text):
    if not len(encoded):
        return -math.inf if text else 0.0
    log_probs = model.ctc_log_probs(encoded)[:, None].detach()
    lens = torch.tensor([len(encoded)]), torch.tensor([len(text)])
    return -float(torch.nn.functional.ctc_loss(log_probs, torch.tensor([text]).long(), *lens, reduction="sum"))


@settings(max_examples=30, deadline=None)
@given(
    batches(max_frames=5, max_utterances=2),
    st.sampled_from((0.0, 0.3, 1.0)),
    st.sampled_from((0.0, 0.7)),
    st.sampled_from((0.0, 0.4)),
    st.sampled_from((-0.5, 0.0, 1.0)),
)
def test_the_score_is_the_weighted_sum(batch, ar_weight, lm_weight, ctc_weight, bonus):
    model, encoded, lens = batch
    lm = bigrams(model.vocab_size)
    options = replace(LIST, ar_weight=ar_weight, lm_weight=lm_weight, ctc_weight=ctc_weight, length_bonus=bonus)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nbest_module, "AR_BEAM", math.inf)
        found = search(batch, options)
    for b, hypothesis in enumerate(found):
        frames = encoded[b, : lens[b]]
        wanted = {}
        for ids in scores(hypothesis):
            terms = [
                (1 - ar_weight, expected(model, frames, ids, False)),
                (ar_weight, expected(model, frames, ids, True)),
                (lm_weight, float(lm.score([ids]))),
                (ctc_weight, ctc_score(model, frames, ids)),
                (bonus, len(ids)),
            ]
            wanted[ids] = sum(weight * term for weight, term in terms if weight)
        if max(wanted.values()) == -math.inf:
            assert "ordered by the lattice" in hypothesis.note
            continue
        assert scores(hypothesis) == pytest.approx(wanted, abs=1e-6)
        ordered = [h.score for h in hypothesis.alternatives]
        assert ordered == sorted(ordered, reverse=True)


def test_scores_of_the_lattice_are_not_added_up_where_all_texts_have_others(monkeypatch):
    """They take a quarter of the time of the search."""
    monkeypatch.setattr(nbest_module, "text_scores", lambda *_: pytest.fail("totals are computed"))
    model = Speaker(1, blank_bias=0.0)
    (found,) = search((model, *encoder_output(1, [6])), replace(LIST, ctc_weight=0.0))
    assert found.alternatives and not found.note


@settings(max_examples=20, deadline=None)
@given(batches(max_frames=8))
def test_the_list_is_that_of_the_lattice_with_language_model(batch):
    """Its first text by the lattice is viterbi-lm's; without a language model it is the list of nbest."""
    best = METHODS["viterbi-lm"].function(*batch, LIST, DecodingResources(lm=bigrams(batch[0].vocab_size)))
    for hypothesis, found in zip(best, search(batch)):
        assert hypothesis.ids in scores(found)
    plain = METHODS["nbest"].function(*batch, LIST, DecodingResources())
    for hypothesis, found in zip(plain, search(batch, LIST, DecodingResources())):
        assert set(scores(hypothesis)) == set(scores(found))


@settings(max_examples=15, deadline=None)
@given(batches(max_frames=8))
def test_the_texts_of_the_ar_lattice_come_beside_those_of_the_nar_lattice(batch):
    """ar-beam's best text is on the list; the best text is the better one of the two lists."""
    lm = DecodingResources(lm=bigrams(batch[0].vocab_size))
    options = replace(LIST, lattice="ar", beam=6, nbest=20)
    best = METHODS["ar-beam"].function(*batch, options, lm)
    for hypothesis, both, nar in zip(best, search(batch, options), search(batch, replace(LIST, nbest=20))):
        if both.note or nar.note or hypothesis.note:
            continue
        assert scores(both).keys() >= scores(nar).keys() | {hypothesis.ids}
        assert {ids: scores(both)[ids] for ids in scores(nar)} == pytest.approx(scores(nar), abs=1e-9)
        ordered = [h.score for h in both.alternatives]
        assert ordered == sorted(ordered, reverse=True) and both.score == ordered[0] >= nar.score
        assert len({h.ids for h in both.alternatives}) == len(ordered)


def test_an_utterance_that_the_language_model_forbids_is_rescored_without(tmp_path):
    """The model has no probability for token 3, on which one utterance insists, its `top_k` being one."""
    path = DictionaryLm({("<s>",): (-99.0, 0.0), ("</s>",): (-0.5, 0.0), ("1",): (-0.5, 0.0)}).write(tmp_path / "lm")
    resources = DecodingResources(lm=NgramLm.read(path, ["0", "1", "2", "3", "4"]))
    model = Speaker(1, blank_bias=0.0).always(1, token=3)
    encoded, lens = encoder_output(1, [6, 0, 5])
    options = replace(LIST, top_k=1, blank_penalty=2000.0, lattice_beam=50.0)
    found = search((model, encoded, lens), options, resources)
    assert [h.note for h in found] == [NO_PATH, "", NO_PATH]
    alone = search((model, encoded, lens), options, DecodingResources())
    assert [found[b] for b in (0, 2)] == [replace(alone[b], note=NO_PATH) for b in (0, 2)]


def test_a_model_without_ctc_and_a_search_without_lm_have_no_such_terms():
    batch = (Speaker(4), *encoder_output(4, [9, 7]))
    batch[0].ctc = None
    plain = search(batch, LIST, DecodingResources())
    weighted = replace(LIST, lm_weight=3.0, ctc_weight=2.0)
    assert search(batch, weighted, DecodingResources()) == plain
