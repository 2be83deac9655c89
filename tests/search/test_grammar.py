import dataclasses
import math
import re
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.fsa.language.automaton import Arc, Automaton, remove_epsilons
from hainan_k2.fsa.language.grammar import make_grammar, read_grammar
from hainan_k2.search import METHODS, DecodingResources, SearchConfig
from tests.fsa.language.grammars import as_automaton, automata
from tests.oracles import grammar as oracle
from tests.oracles import search as oracle_search
from tests.oracles.grammar import LetterTokenizer
from tests.oracles.search import Speaker, batches, encoder_output, shape

k2 = pytest.importorskip("k2")


def search(model, encoded, lens, allowed, **options):
    return METHODS["grammar"].function(
        model, encoded, lens, SearchConfig(**options), DecodingResources(grammar=allowed)
    )


def anything(vocab_size, score=0.0):
    """All tokens, in any number."""
    arcs = tuple(Arc(0, 0, token, (), score) for token in range(1, vocab_size))
    return make_grammar(Automaton(0, arcs, {0: 0.0}), [str(id) for id in range(vocab_size)], False)


PRIORS = st.sampled_from(({}, {"duration_scale": 0.5}, {"blank_penalty": 0.7, "token_bonus": 0.3}))


@settings(max_examples=30, deadline=None)
@given(batches(), PRIORS)
def test_a_grammar_of_everything_is_viterbi(batch, priors):
    model, encoded, lens = batch
    expected = METHODS["viterbi"].function(model, encoded, lens, SearchConfig(top_k=model.vocab_size, **priors))
    hypotheses = search(model, encoded, lens, anything(model.vocab_size), **priors)
    for a, b in zip(expected, hypotheses):
        assert shape(a) == shape(b) and not b.note
        assert b.score == pytest.approx(a.score, abs=1e-4)
        assert [t.confidence for t in b.tokens] == pytest.approx([t.confidence for t in a.tokens], abs=1e-4)


def test_the_grammars_scores_do_not_count_for_what_is_outside():
    model, (encoded, lens) = Speaker(3), encoder_output(3, [9])
    (free,) = search(model, encoded, lens, anything(5))
    (paid,) = search(model, encoded, lens, anything(5, score=20.0), grammar_threshold=0.0)
    assert paid.tokens == () and paid.score > free.score
    gap = (free.score - (paid.score - 9 * 20.0)) / len(free.tokens)
    assert paid.note == f"outside the grammar (its best path is {gap:.2f} nats per token below viterbi's)"
    (kept,) = search(model, encoded, lens, anything(5, score=20.0), grammar_threshold=gap + 0.01)
    assert len(kept.tokens) == 9 and not kept.note


@settings(max_examples=30, deadline=None)
@given(
    automata(num_labels=2),
    st.integers(0, 10**6),
    st.sampled_from(oracle_search.DURATION_SETS),
    st.lists(st.integers(0, 4), min_size=1, max_size=2),
)
def test_a_grammar_equals_enumeration(automaton, seed, durations, lens):
    try:
        allowed = make_grammar(remove_epsilons(automaton), "0123", True)
    except ValueError:
        return
    best = {}  # of every sentence
    outputs = {}
    for (labels, out), score in oracle.sentences(automaton, longest=4).items():
        best[labels] = max(score, best.get(labels, -math.inf))
        outputs.setdefault(labels, {})[oracle.join(out)] = score
    model, (encoded, lens) = Speaker(seed, vocab_size=4, durations=durations), encoder_output(seed, lens)
    for i, hypothesis in enumerate(search(model, encoded, lens, allowed, grammar_threshold=1e9)):
        rows = oracle_search.nar_tables(model, encoded[i, : lens[i]])
        expected = oracle.best_in_grammar(*rows, durations, best)
        if expected is None:
            assert hypothesis.tokens == () and hypothesis.score == -math.inf
            assert hypothesis.note == "outside the grammar (no path in it fits)"
            continue
        assert [(token.id, token.frame) for token in hypothesis.tokens] == [(t, at) for t, at in expected[0] if t]
        assert hypothesis.score == pytest.approx(expected[1], abs=1e-5)
        text = " ".join(word for word, _, _ in hypothesis.output)
        assert outputs[hypothesis.ids][text] == pytest.approx(best[hypothesis.ids])


class Reader:
    """A model whose frames spell a text: each token lasts `duration` frames, and all other frames are blank."""

    durations = (0, 1, 2, 4)

    def __init__(self, tokenizer, duration=2):
        self.tokenizer, self.duration, self.vocab_size = tokenizer, duration, len(tokenizer.pieces)
        self.joiner = self

    def frames_of(self, *texts):
        """encoder_out (B, T, C) and lens of these texts."""
        ids = [self.tokenizer.encode(text) for text in texts]
        lens = torch.tensor([self.duration * (len(row) + 1) for row in ids])
        out = torch.zeros(len(ids), int(lens.max()), 1)
        for row, tokens in zip(out, ids):
            row[self.duration : self.duration * (len(tokens) + 1) : self.duration, 0] = torch.tensor(tokens).float()
        return out, lens

    def project_encoder(self, encoder_out):
        return encoder_out

    def log_probs(self, projected, _):
        tokens = 8.0 * torch.nn.functional.one_hot(projected[..., 0].long(), self.vocab_size)
        durations = torch.zeros(*tokens.shape[:-1], len(self.durations))
        durations[..., self.durations.index(self.duration)] = 6.0
        return tokens.log_softmax(-1), durations.log_softmax(-1)


class DigitTokenizer(LetterTokenizer):
    pieces = ("<blk>", "<unk>", *(f"▁{letter}" for letter in "zotfsne"), *"zotfsnewreuvghix")


DIGITS = """# digit strings of any length
sentence: $digit+
digit: zero : 0@@ | one : 1@@ | two : 2@@ | three : 3@@
    | four : 4@@ | five : 5@@ | six : 6@@ | seven : 7@@
    | eight : 8@@ | nine : 9@@
"""


def grammar_of(folder, text, tokenizer):
    (folder / "text.grammar").write_text(text)
    return read_grammar(folder / "text.grammar", tokenizer)


def test_a_hand_written_grammar_decodes_digit_strings(tmp_path):
    tokenizer = DigitTokenizer()
    model, allowed = Reader(tokenizer), grammar_of(tmp_path, DIGITS, tokenizer)
    texts = "four two seven", "zero", "nine eight one three six five"
    for hypothesis, digits in zip(search(model, *model.frames_of(*texts), allowed), ("427", "0", "981365")):
        transcript = hypothesis.with_words(tokenizer.pieces)
        assert transcript.text == digits and not hypothesis.note
        assert [word.text for word in transcript.words] == [digits]
        assert (transcript.start, transcript.end) == (0.16, pytest.approx(0.08 * hypothesis.num_frames))
        plain = dataclasses.replace(hypothesis, output=None).with_words(tokenizer.pieces)
        assert plain.text in texts


def test_outputs_have_the_times_of_their_tokens(tmp_path):
    tokenizer = LetterTokenizer()
    model = Reader(tokenizer)
    allowed = grammar_of(tmp_path, "sentence: (a :) (b c : 23) (ab ac : home 4@@) a* (b :)", tokenizer)
    (hypothesis,) = search(model, *model.frames_of("a b c ab ac a a b"), allowed)
    words = [(word.text, word.start, word.end) for word in hypothesis.with_words(tokenizer.pieces).words]
    assert words == [("23", 0.32, 0.64), ("home", 0.64, 1.28), ("4a", 0.64, 1.44), ("a", 1.44, 1.6)]


def test_what_is_outside_the_grammar(tmp_path):
    tokenizer = LetterTokenizer()
    model, allowed = Reader(tokenizer), grammar_of(tmp_path, "sentence: a b [c]", tokenizer)
    batch = model.frames_of("a b", "c c c", "a b c")
    inside, outside, again = search(model, *batch, allowed)
    assert not inside.note and not again.note and again.ids == (2, 3, 4) and outside.ids == ()
    gap = float(re.search(r"path is (\S+) nats", outside.note)[1])
    assert outside.note == f"outside the grammar (its best path is {gap:.2f} nats per token below viterbi's)"
    (free,) = METHODS["viterbi"].function(model, *(x[1:2] for x in batch), SearchConfig())
    assert gap == pytest.approx((free.score - outside.score) / 3, abs=0.006)

    _, fallback, _ = search(model, *batch, allowed, grammar_fallback=True)
    assert fallback.ids == free.ids == (4, 4, 4) and fallback.score == free.score
    assert (
        fallback.note == f"outside the grammar: viterbi instead (its best path is {gap:.2f} nats per token below "
        "viterbi's)"
    )
    assert not any(h.note for h in search(model, *batch, allowed, grammar_threshold=gap + 0.01))


def test_no_path_fits(tmp_path):
    tokenizer = LetterTokenizer()
    model, allowed = Reader(tokenizer), grammar_of(tmp_path, "sentence: a{9}", tokenizer)
    batch = model.frames_of("a b", "c")
    for hypothesis in search(model, *batch, allowed):
        assert (hypothesis.tokens, hypothesis.score, hypothesis.note) == (
            (),
            -math.inf,
            "outside the grammar (no path in it fits)",
        )
    for hypothesis, text in zip(search(model, *batch, allowed, grammar_fallback=True), ("a b", "c")):
        assert hypothesis.with_words(tokenizer.pieces).text == text and hypothesis.note.startswith(
            "outside the grammar: viterbi"
        )


def test_large_batches_are_composed_in_parts(tmp_path, monkeypatch):
    tokenizer = LetterTokenizer()
    model, allowed = Reader(tokenizer), grammar_of(tmp_path, "sentence: (a | b | ab : x)+", tokenizer)
    batch = model.frames_of("a b", "ab", "b b b", "a")
    together = search(model, *batch, allowed)
    monkeypatch.setattr(sys.modules["hainan_k2.search.grammar"], "GROUP_ARCS", 300)
    for a, b in zip(search(model, *batch, allowed), together):
        assert shape(a) == shape(b) and a.output == b.output and a.score == pytest.approx(b.score, abs=1e-5)


def test_the_grammar_is_seen_in_the_tensors(tmp_path):
    grammar = grammar_of(tmp_path, "sentence: a b /0.5 | c", LetterTokenizer())
    assert oracle.sentences(as_automaton(grammar), 3) == {((2, 3), ()): pytest.approx(math.log(0.5)), ((4,), ()): 0.0}
    assert grammar.tokens().tolist() == [2, 3, 4] and grammar.num_states == 4
