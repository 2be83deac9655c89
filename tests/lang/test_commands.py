"""The commands of lang/, run as a user runs them."""

import gzip

import pytest
import torch
from safetensors.torch import load_file

from hainan_k2.fsa.language.grammar_files import load_grammar
from hainan_k2.fsa.language.lm_file import read_lm
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.lattices.decoding_graph import DecodingGraph
from hainan_k2.text import Tokenizer, normalise
from recipes.shared.chords import WORDS
from tests.fsa.language.grammars import accepts
from tests.lang.conftest import run, succeed

COMMANDS = ("make_lexicon", "train_lm", "prune_lm", "arpa_to_fst", "compile_graph")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_required_options(command):
    shown = run(command, "--help")
    assert shown.returncode == 0 and "(required)" in shown.stdout
    shown = run(command)
    assert shown.returncode == 2 and shown.stderr.startswith(f"{command}.py: error: give --")
    assert shown.stdout == "" and shown.stderr.count("\n") == 1


def test_from_text_to_graph(lang, tmp_path):
    k2 = pytest.importorskip("k2")
    arpa = tmp_path / "words.arpa.gz"
    arpa.write_bytes(gzip.compress((lang / "words.arpa").read_bytes()))
    succeed("arpa_to_fst", "--arpa", arpa, "--words", lang / "words.txt", "--out-dir", tmp_path)
    shown = succeed(
        "compile_graph",
        "--lang-dir",
        lang,
        "--g",
        tmp_path / "G.fst.txt",
        "--out-dir",
        tmp_path,
        "--durations",
        "0,1,2",
    )
    assert "LG.safetensors: " in shown and "TLG.safetensors: " in shown and "without spelling" not in shown
    for name in ("G.safetensors", "L.safetensors"):
        assert k2.Fsa.from_dict(load_file(tmp_path / name)).num_arcs > len(WORDS)
    pieces = Tokenizer(lang).pieces
    assert DecodingGraph.read(tmp_path / "LG.safetensors", pieces).durations is None
    assert DecodingGraph.read(tmp_path / "TLG.safetensors", pieces).durations == (0, 1, 2)


def test_an_n_gram_model_as_a_grammar(lang, tmp_path):
    """The back-off arcs of G, #0, are epsilons: they are not spelled as the word "zero"."""
    succeed("arpa_to_fst", "--arpa", lang / "words.arpa", "--words", lang / "words.txt", "--out-dir", tmp_path)
    tokenizer = Tokenizer(lang)
    grammar = load_grammar(str(tmp_path / "G.fst.txt"), tokenizer, str(lang / "words.txt"), str(lang / "words.txt"))
    assert not grammar.transduces
    assert grammar.tokens().tolist() == sorted({id for word in WORDS for id in tokenizer.encode(word)})
    # Every pair of words is a sentence of it, by back-off where the file has no bigram.
    spelled = [[*tokenizer.encode(a), *tokenizer.encode(b)] for a in WORDS for b in WORDS]
    assert all(accepts(grammar, tokens) for tokens in spelled)


def test_a_token_level_acceptor(lang, tmp_path):
    arpa = lang / "tokens.arpa"
    shown = succeed("arpa_to_fst", "--arpa", arpa, "--words", lang / "tokens.txt", "--out-dir", tmp_path)
    assert "back-off" in shown
    labels = {int(fields[2]) for fields in map(str.split, open(tmp_path / "G.fst.txt")) if len(fields) > 2}
    assert labels == set(range(1, Tokenizer(lang).vocab_size + 1))  # the last one is #0


def check_distribution(path, symbols):
    """Every history's probabilities add up to one over symbols 1, 2 ... and the end."""
    lm = NgramLm.read(str(path), symbols)
    states = torch.arange(lm.num_states)
    total = lm.final(states).double().exp()
    for symbol in range(1, len(symbols)):
        total += lm.advance(states, torch.full_like(states, symbol))[0].double().exp()
    assert total.tolist() == pytest.approx([1.0] * lm.num_states, abs=1e-4)
    assert lm.missing == ()
    return lm


def test_a_token_lm_has_every_token(lang):
    assert check_distribution(lang / "tokens.arpa", Tokenizer(lang).pieces).order == 2


@pytest.mark.parametrize("order", [1, 3])
def test_a_word_lm_has_the_words_of_its_text_and_of_the_symbol_table(lang, tmp_path, order):
    (tmp_path / "words.txt").write_text("<eps> 0\nzulu 1\n#0 2\n<s> 3\n</s> 4\n")
    succeed(
        "train_lm",
        "--text",
        lang / "train.txt",
        "--order",
        order,
        "--words",
        tmp_path / "words.txt",
        "--arpa",
        tmp_path / "lm.arpa",
    )
    assert check_distribution(tmp_path / "lm.arpa", ["<eps>", *WORDS, "zulu"]).order == order


def test_sentences_of_the_test_set_are_left_out_and_counted(lang):
    log = (lang / "log").read_text()
    test = normalise((lang / "test.txt").read_text())
    copies = (lang / "train.txt").read_text().split("\n").count(test)
    assert copies and f"400 sentences, {copies} of them left out" in log


def test_words_that_the_tokenizer_cannot_spell_are_reported(lang, tmp_path):
    for name in ("bpe.model", "words.arpa"):
        (tmp_path / name).write_bytes((lang / name).read_bytes())
    (tmp_path / "list.txt").write_text("\n".join([*WORDS, "żółw"]))
    shown = succeed("make_lexicon", "--text", tmp_path / "list.txt", "--lang-dir", tmp_path)
    assert "9 words, 8 spelled" in shown and "1 words have letters that the tokenizer lacks: żółw" in shown
    pytest.importorskip("k2")
    (tmp_path / "G.fst.txt").write_text("0 1 2 2 0.5\n0 1 10 10\n1\n")
    shown = succeed("compile_graph", "--lang-dir", tmp_path, "--g", tmp_path / "G.fst.txt", "--out-dir", tmp_path)
    assert "1 of 2 word arcs" in shown and "left out (żółw)" in shown


def test_files_that_are_not_utf8_are_named(lang, tmp_path, refuse):
    (tmp_path / "latin").write_bytes("alfa\nbravo é\n".encode("latin-1"))
    assert "latin:2: not UTF-8 text" in refuse("make_lexicon", "--text", tmp_path / "latin", "--lang-dir", lang)
    pytest.importorskip("k2")
    assert "latin is not UTF-8 text" in refuse(
        "compile_graph", "--lang-dir", lang, "--g", tmp_path / "latin", "--out-dir", tmp_path
    )


def test_texts_that_no_model_can_be_trained_on_are_refused(lang, tmp_path, refuse):
    (tmp_path / "empty.txt").write_text("(laughs)\n\n")
    (tmp_path / "once.txt").write_text("alfa bravo coda\n")
    arpa = ("--arpa", tmp_path / "x.arpa")
    assert "no text to train on: 0 sentences" in refuse("train_lm", "--text", tmp_path / "empty.txt", *arpa)
    assert "occurs exactly twice" in refuse("train_lm", "--text", tmp_path / "once.txt", *arpa)
    assert "No such file" in refuse("train_lm", "--text", tmp_path / "no.txt", *arpa)
    assert "1 of them excluded" in refuse(
        "train_lm", "--text", tmp_path / "once.txt", "--exclude", tmp_path / "once.txt", *arpa
    )
    assert "no words" in refuse("make_lexicon", "--text", tmp_path / "empty.txt", "--lang-dir", lang)
    assert "no tokenizer" in refuse("make_lexicon", "--text", tmp_path / "once.txt", "--lang-dir", tmp_path)
    assert not (tmp_path / "x.arpa").exists()


GOOD = """\\data\\
ngram 1=3
ngram 2=1

\\1-grams:
-1 alfa -0.3
-1 </s>
-99 <s> -0.2

\\2-grams:
-0.2 <s> alfa

\\end\\
"""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "bad.arpa:1: the file is empty"),
        (
            GOOD.replace("-99 <s> -0.2", "-99 <s>"),
            "bad.arpa:8: this 1-gram begins longer ones but has no back-off weight",
        ),
        (GOOD.replace("alfa", "quebec"), "bad.arpa:6: 'quebec' is not"),
        (GOOD.replace("-1 </s>\n", "").replace("1=3", "1=2"), "bad.arpa: no final state"),
        (GOOD.replace("-0.2 <s>", "x <s>"), "bad.arpa:11: log-probability 'x'"),
    ],
)
def test_broken_arpa_files_are_refused_with_their_line(lang, tmp_path, refuse, text, complaint):
    (tmp_path / "bad.arpa").write_text(text)
    assert complaint in refuse(
        "arpa_to_fst", "--arpa", tmp_path / "bad.arpa", "--words", lang / "words.txt", "--out-dir", tmp_path / "out"
    )


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("lexicon.txt", "alfa ▁no-piece\n", "lexicon.txt:1: '▁no-piece' is not a token"),
        ("lexicon.txt", "alfa\n", "lexicon.txt:1: word 'alfa' has no spelling"),
        ("lexicon.txt", "\nquebec a\n", "lexicon.txt:2: word 'quebec' is not in"),
        ("lexicon.txt", "", "lexicon.txt: no word has a spelling"),
        ("words.txt", "<eps> 0\nalfa 2\n", "words.txt:2: should be a word and its id 1"),
        ("words.txt", "<eps> 0\nalfa 1\n", "words.txt: should begin with `<eps> 0` and hold #0"),
        ("words.txt", "<eps> 0\n#0 1\n#0 2\n", "words.txt: '#0' is in it twice"),
        ("G.fst.txt", "0 1 1 1\n0 1 99 99\n1\n", "G.fst.txt:2: label 99 is not in the symbol table"),
        ("G.fst.txt", "0 1 1 2\n1\n", "G.fst.txt:1: 1 becomes 2"),
        ("G.fst.txt", "0 1 1 1 nan\n1\n", "G.fst.txt:1: a cost of nan: it must be a finite number"),
        ("G.fst.txt", "0 1 1 1\n", "G.fst.txt: no final state"),
        ("G.fst.txt", "0 1 0 0\n1 0 0 0\n1\n", "a cycle of epsilons"),
        ("G.fst.txt", "0 0 1 1\n1\n", "no word that the lexicon can spell"),
        ("G.fst.txt", "0\n", "no word that the lexicon can spell"),
        ("G.fst.txt", None, "No such file"),
        ("words.txt", None, "make it with `hainan-make-lexicon`"),
    ],
)
def test_broken_inputs_of_a_graph_are_refused(lang, tmp_path, refuse, name, text, complaint):
    pytest.importorskip("k2")
    (tmp_path / "G.fst.txt").write_text("0 1 1 1 0.5\n1\n")
    for copied in ("bpe.model", "words.txt", "lexicon.txt"):
        (tmp_path / copied).write_bytes((lang / copied).read_bytes())
    (tmp_path / name).unlink() if text is None else (tmp_path / name).write_text(text)
    assert complaint in refuse(
        "compile_graph", "--lang-dir", tmp_path, "--g", tmp_path / "G.fst.txt", "--out-dir", tmp_path / "out"
    )


def test_a_pruned_model_is_read_in_place_of_the_arpa_file(lang, tmp_path):
    out = tmp_path / "lm.safetensors"
    common = ("--arpa", lang / "tokens.arpa", "--lang-dir", lang, "--out", out)
    whole = succeed("prune_lm", *common, "--test", lang / "test.txt")
    assert "MB" in whole and "perplexity" in whole
    pieces = Tokenizer(lang).pieces
    lm = NgramLm.read(str(lang / "tokens.arpa"), pieces)
    assert read_lm(out, pieces).num_arcs == lm.num_arcs
    pruned = succeed("prune_lm", *common, "--ngrams", lm.num_words + 5)
    found = read_lm(out, pieces)
    assert lm.num_words < found.num_arcs <= lm.num_words + 5 and f"{found.num_arcs} of {lm.num_arcs} n-grams" in pruned


def test_bad_options_of_prune_lm(lang, tmp_path, refuse):
    common = ("--arpa", lang / "tokens.arpa", "--lang-dir", lang)
    assert "give --arpa, --lang-dir and --out" in refuse("prune_lm", *common)
    assert "ends in .safetensors" in refuse("prune_lm", *common, "--out", tmp_path / "lm.arpa")
    assert "unigrams, which are always kept" in refuse(
        "prune_lm", *common, "--out", tmp_path / "lm.safetensors", "--ngrams", "3"
    )
    assert not list(tmp_path.iterdir())
