"""Grammars that come as OpenFst texts and binaries."""

import pytest
from hypothesis import given, settings

from hainan_k2.fsa.language.openfst import read_fst_text
from hainan_k2.fsa.language.openfst_binary import read_fst_binary
from tests.fsa.language.grammars import as_automaton, automata, compiled, refused
from tests.oracles import grammar as oracle


@pytest.fixture(scope="module")
def kaldifst():
    return pytest.importorskip("kaldifst")


@pytest.mark.parametrize(
    "text, message",
    [
        ("0 1 2\n", "g: no final state: nothing can ever be accepted"),
        ("0 1 2\n2 3 3\n3\n", "g: no final state can be reached from the start state 0"),
        ("0 1 2\n1 2 0\n2 1 0\n2\n", "g: epsilon cycle through state 1: it could repeat without a token"),
        ("0 1 2 nan\n1", "g:1: a cost of nan: it must be a finite number"),
        ("0 1 2 2 inf\n1", "g:1: a cost of inf: it must be a finite number"),
        ("0 1 2\n1 Infinity", "g: no final state: nothing can ever be accepted"),
        ("0 1 2\n1 -inf", "g:2: a cost of -inf: it must be a finite number"),
        ("0 1 2\n1 x", "g:2: 'x' is no cost"),
        (
            "0 1 2\n1 2 3 4 5 6\n1",
            "g:2: 6 fields; an acceptor has lines `source target label [cost]` and `state [cost]`",
        ),
        (
            "0 1 2 2\n1 2 3 4 5 6\n1",
            "g:2: 6 fields; a transducer has lines `source target input output [cost]` and `state [cost]`",
        ),
        (
            "0 1 2\n1 " + "2 " * 99,
            "g:2: more than 6 fields; an acceptor has lines `source target label [cost]` and `state [cost]`",
        ),
        ("0 -1 2\n1", "g:1: '-1' is no state number"),
        (
            "0 1 8\n1",
            "g:1: token 8 is beyond the tokenizer's 8 pieces: an FST of words needs their symbol table (--isymbols)",
        ),
        (
            "0 1 ab\n0 1 <unk>\n1",
            "g:2: <unk> is a symbol and no word: remove its arcs, or replace them by words",
        ),
        (
            "sentence: ab | <unk>",
            "g:1: <unk> is a symbol and no word: remove its arcs, or replace them by words",
        ),
        ("0 1 ▁a\n0 1 ▁d\n1", "g:2: '▁d' is none of the tokenizer's 8 pieces"),
        ("0 1 ab\n0 1 de\n1", "g:2: the tokenizer cannot spell 'de'"),
        ("0 1 <eps> x 0.5\n1", "g: there is output for the empty sentence: every output needs a token"),
    ],
)
def test_broken_openfst_texts(tmp_path, text, message):
    assert refused(tmp_path, text) == message


def test_symbols(tmp_path):
    words = {0: "<eps>", 7: "ab", 9: "c"}
    by_id, by_name = (
        compiled(tmp_path, "4 1 7 9 0.5\n1", input_symbols=words, output_symbols=words),
        compiled(tmp_path, "0 1 ab c 0.5\n1", input_symbols=words, output_symbols=words),
    )
    for grammar in (by_id, by_name):
        assert oracle.sentences(as_automaton(grammar), 3) == {((2, 6), ("c",)): -0.5}
    assert refused(tmp_path, "0 1 7\n0 1 8\n1", input_symbols=words) == (
        "g:2: unknown symbol '8': not in the symbol table of 3"
    )
    assert refused(tmp_path, "0 1 7\n1", level="word") == (
        "g: a word-level FST of numbers needs the symbol table of its words"
    )
    assert refused(tmp_path, "0 1 7\n1", level="words") == "level must be one of auto, word, token, got 'words'"


ONE_OF_EACH = {  # the same sentence "ab", with output x, at a cost of 1
    "words": ("3 1 ab x 0.75\n1 0.25\n", None),
    "tokens": ("0 1 ▁a <eps>\n1 5 b x 0.75\n5 0.25", None),
    "ids": ("0 1 2 9 0.75\n1 2 6 0\n2 3 0 0 0.25\n3", {9: "x"}),
}


@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_levels_of_openfst_texts(tmp_path, kind):
    text, symbols = ONE_OF_EACH[kind]
    grammar = compiled(tmp_path, text, output_symbols=symbols)
    assert oracle.sentences(as_automaton(grammar), 3) == {((2, 6), ("x",)): -1.0}


def table(kaldifst, *symbols):
    return kaldifst.SymbolTable.from_str("".join(f"{symbol} {i}\n" for i, symbol in enumerate(symbols)))


@pytest.mark.parametrize("fst_type", ["vector", "const"])
@settings(max_examples=15, deadline=None)
@given(automaton=automata())
def test_openfst_text_and_binary_are_the_same(kaldifst, tmp_path_factory, fst_type, automaton):
    path, names = tmp_path_factory.mktemp("fst") / "g.fst", ("<eps>", "x", "y", "z")
    lines = [
        f"{a.source} {a.target} {a.label} {names.index(a.output[0]) if a.output else 0} {-a.score}\n"
        for a in sorted(automaton.arcs, key=lambda a: a.source)
    ]
    text = "".join(lines + [f"{q} {-w}\n" for q, w in automaton.finals.items()])
    fst = kaldifst.compile(text, acceptor=False, fst_type=fst_type)
    fst.write(str(path))
    binary, printed = read_fst_binary(path.read_bytes(), "g"), read_fst_text(fst.to_str(), "g", acceptor=False)
    assert sorted(arc[:5] for arc in binary.arcs) == sorted(arc[:5] for arc in printed.arcs)
    assert binary.finals == printed.finals and binary.start == printed.start


def test_binary_files_keep_their_symbols(kaldifst, tmp_path):
    names = {"isymbols": table(kaldifst, "<eps>", "ab", "c"), "osymbols": table(kaldifst, "<eps>", "x", "y")}
    fst = kaldifst.compile("0 1 ab x 0.5\n1 1 c y\n1\n", **names, keep_isymbols=True, keep_osymbols=True)
    for kept in (fst, kaldifst.StdConstFst(fst)):
        kept.write(str(tmp_path / "fst"))
        grammar = compiled(tmp_path, (tmp_path / "fst").read_bytes())
        assert oracle.sentences(as_automaton(grammar), 3) == {((2, 6), ("x",)): -0.5, ((2, 6, 4), ("x", "y")): -0.5}


def test_binary_files_that_cannot_be_used(kaldifst, tmp_path):
    kaldifst.compile("0 1 2 2\n1", acceptor=False).write(str(tmp_path / "fst"))
    data = (tmp_path / "fst").read_bytes()
    assert refused(tmp_path, data[:40]) == "g: ends at byte 40, in the middle of the FST"
    assert refused(tmp_path, data[:-9]) == f"g: ends at byte {len(data) - 9}, in the middle of the FST"
    assert "FST of type 'banana' with arcs" in refused(tmp_path, data.replace(b"vector", b"banana"))
    assert refused(tmp_path, data.replace(b"\x01\0\0\0\0\0\0\0\x02", b"\x01\x01\0\0\0\0\0\0\x02", 1)).startswith(
        "g: should hold 257 arcs, which its"
    )
    kaldifst.StdVectorFst().write(str(tmp_path / "fst"))
    assert refused(tmp_path, (tmp_path / "fst").read_bytes()) == "g: an FST without a start state: it accepts nothing"


SILENT = ("#0", "#1", "#23", "!SIL", "<SIL>", "<s>", "</s>", "<eps>")


@pytest.mark.parametrize("symbol", SILENT)
@pytest.mark.parametrize("kind", ["names", "ids", "binary"])
def test_disambiguation_symbols_and_silence_are_epsilon(tmp_path, kind, symbol):
    """A word a, back off by `symbol`, then b: no tokens for the symbol, on neither side."""
    table = {0: "<none>", 1: "a", 2: "b", 3: symbol}
    names = f"0 1 a a 0.5\n1 2 {symbol} {symbol} 0.25\n2 3 b b\n3"
    if kind == "names":
        grammar = compiled(tmp_path, names)
    elif kind == "ids":
        grammar = compiled(tmp_path, "0 1 1 1 0.5\n1 2 3 0 0.25\n2 3 2 2\n3", input_symbols=table)
    else:
        lines = "".join(f"{name} {id}\n" for id, name in table.items())
        kaldifst = pytest.importorskip("kaldifst")
        symbols = kaldifst.SymbolTable.from_str(lines)
        fst = kaldifst.compile(names, isymbols=symbols, osymbols=symbols, keep_isymbols=True, keep_osymbols=True)
        fst.write(str(tmp_path / "g"))
        grammar = compiled(tmp_path, (tmp_path / "g").read_bytes())
    assert not grammar.transduces
    assert oracle.sentences(as_automaton(grammar), 4) == {((2, 3), ()): -0.75}


def test_numbers_without_symbol_table_are_read_as_tokens_with_a_warning(tmp_path, caplog):
    compiled(tmp_path, "0 1 2\n1")
    (message,) = caplog.messages
    assert message == (
        f"{tmp_path}/g has numbers as labels and no symbol table: they are read as ids of the tokenizer's 8 "
        "tokens; if they are ids of words, give their symbol table by --isymbols"
    )
    caplog.clear()
    compiled(tmp_path, "0 1 2\n1", level="token")  # the user has chosen
    compiled(tmp_path, "0 1 1\n1", input_symbols={0: "<eps>", 1: "a"})
    assert not caplog.messages
