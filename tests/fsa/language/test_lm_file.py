"""Small files of language models: what is read is what was written, but for rounding; damage is one line."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.files.container import read_container, write_container
from hainan_k2.fsa.language.lm_file import KIND, read_lm, write_lm
from hainan_k2.fsa.language.ngram import NgramLm
from tests.oracles.lm import SYMBOLS, language_models, small_lm

EXACT = ("order", "start", "end_word", "num_words", "missing")
EQUAL = ("words", "keys", "next_states", "backoff_states")


@settings(max_examples=50, deadline=None)
@given(dictionary=language_models(), sentences=st.lists(st.lists(st.integers(1, len(SYMBOLS) - 1), max_size=6)))
def test_a_small_model_is_read_as_it_was_written(dictionary, sentences, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    lm = NgramLm.read(dictionary.write(folder / "lm.arpa"), SYMBOLS)
    write_lm(folder / "lm.safetensors", lm, SYMBOLS)
    read = read_lm(folder / "lm.safetensors", SYMBOLS)
    assert all(getattr(read, name) == getattr(lm, name) for name in EXACT)
    assert all(torch.equal(getattr(read, name), getattr(lm, name)) for name in EQUAL)
    torch.testing.assert_close(read.log_probs, lm.log_probs)  # fewer than 256 of them: each has its own code
    torch.testing.assert_close(read.backoff_log_probs, lm.backoff_log_probs)
    for sentence in sentences:
        expected = dictionary.score([SYMBOLS[i] for i in sentence])
        assert float(read.score([sentence])) == pytest.approx(expected, abs=1e-4) or math.isinf(expected)


def test_many_probabilities_are_rounded_to_256_near_values(tmp_path):
    generator = np.random.default_rng(0)
    words = 4000
    drawn = np.log(generator.dirichlet(np.full(words, 0.3)) + 1e-9)
    log_probs = torch.from_numpy(np.concatenate([drawn, [-np.inf, -228.0, -0.1, 0.0]])).float()
    wide = NgramLm(
        order=1,
        start=0,
        end_word=words + 2,
        num_words=words + 3,
        missing=(),
        words=torch.arange(words + 1),
        keys=torch.cat([torch.arange(words + 3), torch.tensor([2**63 - 1])]),
        log_probs=log_probs,
        next_states=torch.zeros(words + 4, dtype=torch.int64),
        backoff_log_probs=torch.zeros(1),
        backoff_states=torch.zeros(1, dtype=torch.int64),
    )
    symbols = [str(i) for i in range(words + 1)]
    write_lm(tmp_path / "wide.safetensors", wide, symbols)
    read = read_lm(tmp_path / "wide.safetensors", symbols)
    before, after = log_probs[:-1].double(), read.log_probs[:-1].double()
    assert torch.equal(before.isinf(), after.isinf()) and len(after.unique()) <= 256
    usual = before > np.quantile(before[before.isfinite()], 0.001)
    width = float(before[usual].max() - before[usual].min()) / 239
    assert float((before - after)[usual].abs().max()) <= width + 1e-5
    assert (tmp_path / "wide.safetensors").stat().st_size < 12 * words + 20_000


@pytest.fixture
def written(tmp_path):
    write_lm(tmp_path / "lm.safetensors", NgramLm.read(small_lm(2).write(tmp_path / "lm.arpa"), SYMBOLS), SYMBOLS)
    return tmp_path / "lm.safetensors"


def test_arpa_files_are_read_too(written):
    assert read_lm(written.with_suffix(".arpa"), SYMBOLS).num_arcs == read_lm(written, SYMBOLS).num_arcs


def test_other_tokens_are_refused(written):
    with pytest.raises(ValueError, match="over other tokens than the 7 of this tokenizer"):
        read_lm(written, [*SYMBOLS[:-1], "f"])


def test_every_changed_byte_is_noticed(written, tmp_path):
    content = written.read_bytes()
    with pytest.raises(ValueError, match="missing: No such file"):
        read_lm(tmp_path / "missing", SYMBOLS)
    for place in range(0, len(content), 37):
        written.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match=str(written)):
            read_lm(written, SYMBOLS)
    written.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=str(written)):
        read_lm(written, SYMBOLS)


@pytest.mark.parametrize(
    "name, change, complaint",
    [
        ("arcs", lambda x: -x, "of no state"),
        ("arcs", lambda x: x.flip(0), "not sorted"),
        ("words", lambda x: x + 100, "beyond its vocabulary"),
        ("words", lambda x: x.flip(0), "not sorted"),
        ("next_states", lambda x: x + 1000, "leads to no state"),
        ("next_states", lambda x: x[1:], "do not fit"),
        ("backoff_states", lambda x: x + 1, "in a circle"),
        ("backoff_states", lambda x: x - 1, "in a circle"),
        ("log_probs", lambda x: x.float(), "no bytes"),
        ("log_prob_values", lambda x: x + 1, "probability is none"),
        ("log_prob_values", lambda x: x * float("nan"), "probability is none"),
        ("backoff_values", lambda x: x - float("inf"), "probability is none"),
        ("tokens", lambda x: x - 1, "beyond its vocabulary"),
        ("tokens", lambda x: x[None], "do not fit"),
        ("order", lambda x: 0, "sizes are wrong"),
        ("order", lambda x: "4", "sizes are wrong"),
        ("start", lambda x: 10**6, "of no state"),
        ("end_word", lambda x: x + 1, "sizes are wrong"),
        ("num_words", lambda x: x + 1, "not sorted"),
        ("num_words", lambda x: x - 1, "sizes are wrong|beyond"),
        ("num_words", lambda x: 10**30, "sizes are wrong"),
    ],
)
def test_tensors_that_are_no_automaton_are_refused(written, name, change, complaint):
    tensors, facts = read_container(written, KIND)
    changed = tensors if name in tensors else facts
    changed[name] = change(changed[name])
    write_container(written, KIND, {k: v.contiguous() for k, v in tensors.items()}, facts)
    with pytest.raises(ValueError, match=complaint) as raised:
        read_lm(written, SYMBOLS)
    assert str(written) in str(raised.value) and len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["words", "order"])
def test_missing_parts_are_refused(written, name):
    tensors, facts = read_container(written, KIND)
    for part in (tensors, facts):
        part.pop(name, None)
    write_container(written, KIND, tensors, facts)
    with pytest.raises(ValueError, match=f"no back-off automaton|{name}"):
        read_lm(written, SYMBOLS)
