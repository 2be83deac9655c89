"""`--format k2`: folders and files as icefall has them."""

import random

import pytest
import torch

from hainan_k2.files.pickle_machine import Ragged
from hainan_k2.fsa.k2_file import read_k2
from hainan_k2.fsa.language.lexicon import read_words
from hainan_k2.text import Tokenizer
from recipes.shared.chords import WORDS
from tests.lang.conftest import succeed

k2 = pytest.importorskip("k2")


@pytest.fixture(scope="module")
def folder(lang, tmp_path_factory):
    """A lang folder with G.pt and LG.pt."""
    folder = tmp_path_factory.mktemp("icefall")
    for name in ("bpe.model", "tokens.txt"):
        (folder / name).write_bytes((lang / name).read_bytes())
    succeed("make_lexicon", "--text", lang / "train.txt", "--lang-dir", folder, "--format", "k2")
    words = ("--words", folder / "words.txt", "--out-dir", folder, "--format", "k2")
    succeed("arpa_to_fst", "--arpa", lang / "words.arpa", *words)
    succeed("compile_graph", "--lang-dir", folder, "--g", folder / "G.fst.txt", "--out-dir", folder, "--format", "k2")
    return folder


def load(path):
    return k2.Fsa.from_dict(torch.load(str(path)))


def test_the_symbol_tables_are_those_of_icefall(folder):
    pieces, words = Tokenizer(folder).pieces, read_words(folder / "words.txt")
    assert words == ("<eps>", "<UNK>", *sorted(WORDS[:8]), "#0", "<s>", "</s>")
    names = [line.split() for line in (folder / "tokens.txt").read_text(encoding="utf-8").splitlines()]
    assert [int(id) for _, id in names] == list(range(len(names)))
    symbols = [name for name, _ in names]
    assert symbols[: len(pieces)] == list(pieces) and symbols[len(pieces)] == "#0"
    used = {field for line in open(folder / "lexicon_disambig.txt", encoding="utf-8") for field in line.split()[1:]}
    assert {name for name in used if name.startswith("#")} == set(symbols[len(pieces) + 1 :])
    assert read_words(folder / "tokens.txt")[len(pieces)] == "#0"  # arpa_to_fst takes both forms of tokens.txt
    lexicon = dict(line.rstrip("\n").split(" ", 1) for line in open(folder / "lexicon.txt", encoding="utf-8"))
    assert lexicon["<UNK>"].split() == [piece for piece in ("▁", "<unk>") if piece in pieces]


def test_k2_loads_l_and_writes_every_word(folder):
    tokenizer, words = Tokenizer(folder), read_words(folder / "words.txt")
    plain, disambiguated = load(folder / "L.pt"), load(folder / "L_disambig.pt")
    loops = (disambiguated.labels == tokenizer.vocab_size).nonzero()[:, 0].tolist()
    assert [int(disambiguated.aux_labels[i]) for i in loops] == [words.index("#0")]
    assert int(plain.labels.max()) < tokenizer.vocab_size
    for word in WORDS[:8]:
        path = k2.compose(k2.linear_fst([tokenizer.encode(word)], [tokenizer.encode(word)]), k2.arc_sort(plain))
        spelled = k2.shortest_path(k2.connect(k2.top_sort(path)), use_double_scores=True)
        assert [words[i] for i in spelled.aux_labels.tolist() if i > 0] == [word]


def best_score(graph, tokens):
    """The score of the best path that reads the tokens."""
    path = k2.intersect_device(k2.create_fsa_vec([graph]), k2.create_fsa_vec([tokens]), torch.zeros(1).int(), True)
    return float(k2.connect(k2.top_sort(path)).get_tot_scores(use_double_scores=True, log_semiring=False))


def test_lg_is_what_icefall_would_compile(folder):
    """L_disambig composed with G, determinized, disambiguation symbols removed: the same score for every sentence."""
    tokenizer, words = Tokenizer(folder), read_words(folder / "words.txt")
    composed = k2.connect(k2.compose(k2.arc_sort(load(folder / "L_disambig.pt")), k2.arc_sort(load(folder / "G.pt"))))
    composed = k2.connect(k2.determinize(composed))
    labels = composed.labels.clone()
    labels[labels >= tokenizer.vocab_size] = 0
    composed.labels = labels
    composed = k2.arc_sort(k2.connect(k2.remove_epsilon(composed)))
    ours = k2.arc_sort(load(folder / "LG.pt"))
    assert {words[i] for i in ours.aux_labels.tolist() if i > 0} == set(WORDS[:8])
    choose = random.Random(1)
    for _ in range(20):
        text = " ".join(choose.choice(WORDS[:8]) for _ in range(choose.randint(1, 4)))
        tokens = k2.linear_fsa(tokenizer.encode(text))
        assert best_score(ours, tokens) == pytest.approx(best_score(composed, tokens), abs=1e-3)


def test_they_are_read_without_k2_and_without_executing_anything(folder, tmp_path):
    for name in ("L", "L_disambig", "G", "LG"):
        file, fsa = read_k2(folder / f"{name}.pt"), load(folder / f"{name}.pt")
        assert not file.is_vec and torch.equal(file.arcs, fsa.as_dict()["arcs"]) and len(file.num_states) == 1
        assert torch.equal(file.scores, fsa.scores) and torch.equal(file.attributes["aux_labels"], fsa.aux_labels)
        assert int(file.num_states) == fsa.shape[0] and int(file.leaving.sum()) == fsa.num_arcs
    fsa = load(folder / "LG.pt")
    determinized = k2.determinize(k2.connect(fsa))  # its aux_labels are ragged, as those of icefall's LG.pt
    torch.save(determinized.as_dict(), str(tmp_path / "ragged.pt"))
    aux = read_k2(tmp_path / "ragged.pt").attributes["aux_labels"]
    assert isinstance(aux, Ragged) and torch.equal(aux.values, determinized.aux_labels.values)
    assert torch.equal(aux.row_splits[0], determinized.aux_labels.shape.row_splits(1))


def test_a_model_directory_keeps_its_tokens(refuse, lang, tmp_path):
    for name in ("bpe.model", "tokens.txt"):
        (tmp_path / name).write_bytes((lang / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"")
    line = refuse("make_lexicon", "--text", lang / "train.txt", "--lang-dir", tmp_path, "--format", "k2")
    assert "is a model directory, whose tokens.txt must stay" in line
    assert (tmp_path / "tokens.txt").read_bytes() == (lang / "tokens.txt").read_bytes()
