"""Recognizer.log_probs and Recognizer.lattice: from sound to scores and lattices."""

import numpy as np
import pytest
import torch

import hainan_k2
from hainan_k2.bench.decode import random_model
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.text.tokenizer import Tokenizer
from tests.toy import make_lang


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    tokenizer = Tokenizer(make_lang(tmp_path_factory.mktemp("talker")))
    return Recognizer(random_model("tiny", tokenizer.vocab_size, seed=1), tokenizer)


def test_lattices_from_sound(recognizer, tmp_path):
    pytest.importorskip("k2")
    audio = [np.random.default_rng(0).standard_normal(n).astype(np.float32) / 10 for n in (16000, 9000)]
    tokens, durations, lens = recognizer.log_probs(audio)
    assert tokens.shape[:2] == durations.shape[:2] == (2, int(lens.max())) and lens.tolist() == [13, 7]
    assert all(torch.allclose(part.exp().sum(-1), torch.ones(2, 13)) for part in (tokens, durations))
    lattice = recognizer.lattice(audio, hainan_k2.SearchConfig(top_k=3))
    alone = recognizer.lattice(audio[1:], hainan_k2.SearchConfig(top_k=3))
    score = lattice.get_tot_scores(use_double_scores=True, log_semiring=True)
    assert torch.allclose(score[1:], alone.get_tot_scores(use_double_scores=True, log_semiring=True), atol=1e-4)
    expected = recognizer.transcribe(audio, "viterbi", hainan_k2.SearchConfig(top_k=3))
    best = hainan_k2.texts_with_times(hainan_k2.shortest_path(lattice), lens, recognizer.tokenizer.pieces)
    times = [[[(w.text, w.start) for w in h.words] for h in listed] for listed in (best, expected)]
    assert times[0] == times[1]


def test_lattices_that_cannot_be(recognizer, tmp_path):
    with pytest.raises(ValueError, match="none.wav"):
        recognizer.lattice([tmp_path / "none.wav"])
    with pytest.raises(ValueError, match="none.arpa"):
        recognizer.lattice([np.zeros(9000, np.float32)], lm=str(tmp_path / "none.arpa"))
    (tmp_path / "names.txt").write_text("a b")
    (tmp_path / "any.grammar").write_text("sentence: a")
    files = {"grammar": str(tmp_path / "any.grammar"), "hotwords": str(tmp_path / "names.txt")}
    with pytest.raises(ValueError, match="a lattice takes a grammar or a graph alone, not grammar and hotwords"):
        recognizer.lattice([np.zeros(9000, np.float32)], hainan_k2.SearchConfig(), **files)
