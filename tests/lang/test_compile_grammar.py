"""The grammar's commands as a user runs them: hainan-compile-grammar, and decode.py with --grammar."""

import json
import re
import subprocess
import sys

import pytest
import torch

from hainan_k2 import Hainan, ModelConfig, decode, read_grammar
from hainan_k2.config import as_dict
from hainan_k2.formats.checkpoint import save_checkpoint
from hainan_k2.lang import compile_grammar
from hainan_k2.lang.train_bpe import train_bpe, write_lang
from hainan_k2.search.resources import ResourceConfig, load_resources
from hainan_k2.text.tokenizer import Tokenizer
from tests.toy import ROOT

GRAMMAR = """sentence: $word{1,2}
word: (alfa : a@@ | bravo : b@@
    | golf : g@@)
"""


@pytest.fixture
def call(capfd, caplog):
    """Runs a command in this process: its exit code, what it printed, and its log or its line of refusal."""

    def run(main, *options):
        caplog.set_level("INFO")
        caplog.clear()
        try:
            main([str(option) for option in options])
            code = 0
        except SystemExit as end:
            code = end.code
        shown = capfd.readouterr()
        return code, shown.out, "\n".join([*caplog.messages, shown.err.partition(": error: ")[2].rstrip("\n")]).strip()

    return run


def test_a_text(toy, tmp_path):
    """As a user runs it."""
    (tmp_path / "g.grammar").write_text(GRAMMAR)
    command = [
        sys.executable,
        ROOT / "lang" / "compile_grammar.py",
        "--lang-dir",
        toy / "lang",
        "--grammar",
        tmp_path / "g.grammar",
    ]
    shown = subprocess.run([*command, "--out", tmp_path / "g.safetensors"], text=True, capture_output=True)
    assert shown.returncode == 0, shown.stderr
    assert re.search(
        r"g.grammar: a transducer with 3 outputs of \d+ states and \d+ arcs over \d+ tokens, written to "
        rf"{tmp_path}/g.safetensors$",
        shown.stderr.strip(),
    )
    tokenizer = Tokenizer(toy / "lang")
    same, saved = (read_grammar(tmp_path / name, tokenizer) for name in ("g.grammar", "g.safetensors"))
    assert torch.equal(same.arcs, saved.arcs) and same.outputs == saved.outputs == ("", "a@@", "b@@", "g@@")


@pytest.mark.parametrize(
    "text, options",
    [
        ("0 1 alfa\n1 0 golf 0.5\n1", ()),
        ("0 1 1 3\n1 0 2 3 0.5\n1", ("--isymbols", "i.txt", "--osymbols", "o.txt")),
        ("0 1 alfa 7\n1 0 golf 7\n1", ("--acceptor", "true")),
    ],
)
def test_openfst_texts(toy, tmp_path, call, text, options):
    (tmp_path / "g.txt").write_text(text)
    (tmp_path / "i.txt").write_text("<eps> 0\nalfa 1\ngolf 2\n")
    (tmp_path / "o.txt").write_text("<eps> 0\nx 3\n")
    options = [tmp_path / option if option.endswith(".txt") else option for option in options]
    code, _, log = call(compile_grammar.main, "--lang-dir", toy / "lang", "--grammar", tmp_path / "g.txt", *options)
    kind = "a transducer with 1 outputs" if "--osymbols" in options else "an acceptor"
    assert code == 0 and f"g.txt: {kind} of " in log and "written" not in log


@pytest.mark.parametrize(
    "text, message",
    [
        ("sentence: alfa $x", "g:1: no rule x"),
        ("sentence: alfa\n\n  | z&~", "g:3: cannot read '~'"),
        ("sentence: 1Ω", "g:1: the tokenizer cannot spell '1Ω'"),
        ("0 1 alfa\n", "g: no final state: nothing can ever be accepted"),
        ("0 1 9\n1", "g:1: unknown symbol '9': not in the symbol table of 2"),
    ],
)
def test_broken_grammars_are_refused(toy, tmp_path, call, text, message):
    (tmp_path / "g").write_text(text)
    (tmp_path / "i.txt").write_text("<eps> 0\nalfa 1\n")
    command = (compile_grammar.main, "--lang-dir", toy / "lang", "--grammar", tmp_path / "g")
    table = ("--isymbols", tmp_path / "i.txt")
    assert call(*command, *(table if text[0] == "0" else ())) == (2, "", f"{tmp_path}/{message}")
    if text[0] == "s":
        message = "g is no OpenFst file: level, symbol tables and acceptor are for those only"
        assert call(*command, *table) == (2, "", f"{tmp_path}/{message}")


def test_broken_symbol_tables(toy, tmp_path, call):
    (tmp_path / "i.txt").write_text("<eps> 0\nalfa\n")
    code, _, log = call(
        compile_grammar.main, "--lang-dir", toy / "lang", "--grammar", "digits", "--isymbols", tmp_path / "i.txt"
    )
    assert (code, log) == (2, f"{tmp_path}/i.txt:2: a symbol table has lines `symbol id`, not 'alfa'")


def test_missing_options_and_files(toy, tmp_path, call):
    assert call(compile_grammar.main) == (2, "", "give --grammar and --lang-dir")
    command = (compile_grammar.main, "--lang-dir", toy / "lang", "--grammar", tmp_path / "g")
    assert call(*command) == (2, "", f"{tmp_path}/g: No such file or directory")
    assert call(*command, "--level", "x") == (2, "", "level is 'x': choose from auto, word, token")


@pytest.fixture(scope="module")
def untrained(toy, tmp_path_factory):
    """An experiment whose model has learnt nothing, and a grammar."""
    folder = tmp_path_factory.mktemp("exp")
    torch.manual_seed(0)
    config = ModelConfig.preset("tiny", vocab_size=Tokenizer(toy / "lang").vocab_size)
    save_checkpoint(
        folder / "epoch-1.safetensors", {"model": Hainan(config).state_dict(), "model_config": as_dict(config)}
    )
    (folder / "g.grammar").write_text(GRAMMAR)
    return folder


@pytest.fixture(scope="module")
def openfst(untrained):
    """The grammar, compiled by OpenFst."""
    kaldifst = pytest.importorskip("kaldifst")
    table = kaldifst.SymbolTable.from_str("<eps> 0\nalfa 1\nbravo 2\ngolf 3\na 4\nb 5\ng 6\n")
    lines = [f"{s} {s + 1} {word} {word[0]}" for s in (0, 1) for word in ("alfa", "bravo", "golf")]
    fst = kaldifst.compile(
        "\n".join([*lines, "1", "2"]), isymbols=table, osymbols=table, keep_isymbols=True, keep_osymbols=True
    )
    fst.write(str(untrained / "g.fst"))


def decoding(toy, folder):
    return (
        decode.main,
        "--exp-dir",
        folder,
        "--cuts",
        toy / "dev.jsonl.gz",
        "--lang-dir",
        toy / "lang",
        "--method",
        "grammar",
        "--num-workers",
        "0",
        "--device",
        "cpu",
    )


@pytest.mark.parametrize("name", ["g.grammar", "g.fst"])
def test_decoding(toy, untrained, tmp_path, call, name, request):
    pytest.importorskip("k2")
    if name == "g.fst":
        request.getfixturevalue("openfst")
    code, shown, log = call(
        *decoding(toy, untrained),
        "--grammar",
        untrained / name,
        "--out-dir",
        tmp_path,
        "--write",
        "jsonl",
        "--grammar-threshold",
        "0",
        "--draw-lattice",
        "dev-003",
    )
    assert code == 0, log
    results = [json.loads(line) for line in (tmp_path / "dev-grammar.jsonl").read_text().splitlines()]
    assert len(results) == 20
    space = "" if name == "g.grammar" else " "
    assert all(re.fullmatch("" if result["note"] else f"[abg]({space}[abg])?", result["text"]) for result in results)
    count = sum(bool(result["note"]) for result in results)
    assert f"grammar: {count} of 20 utterances: outside the grammar\n" in shown and count > 10
    (drawn,) = tmp_path.glob("lattice-dev-003.*")
    assert str(drawn) in shown and "end" in drawn.read_text()


def test_decoding_refuses(toy, untrained, tmp_path, call):
    pytest.importorskip("k2")
    command = decoding(toy, untrained)
    assert call(*command) == (2, "", "method grammar needs --grammar")
    (tmp_path / "g").write_text("0 1 alfa\n1 0 <eps>\n0 1 <eps>\n1")
    message = f"{tmp_path}/g: epsilon cycle through state 1: it could repeat without a token"
    assert call(*command, "--grammar", tmp_path / "g") == (2, "", message)
    (tmp_path / "g").write_text("0 1 alfa\n1")
    code, _, log = call(*command, "--grammar", tmp_path / "g", "--draw-lattice", "nobody")
    assert code == 2 and "no utterance 'nobody' to draw among the cuts" in log


def test_an_example_by_name(tmp_path, call):
    """`--grammar digits` of compile_grammar, decode and transcribe."""
    words = "zero oh one two three four five six seven eight nine double"
    lang = write_lang(train_bpe([words] * 3 + list(words.split()), 60), tmp_path)
    code, _, log = call(compile_grammar.main, "--lang-dir", tmp_path, "--grammar", "digits")
    assert code == 0 and log.startswith("digits: a transducer with ")
    assert "22@@" in load_resources(ResourceConfig(grammar="digits"), lang).grammar.outputs
    code, _, log = call(compile_grammar.main, "--lang-dir", tmp_path, "--grammar", "digit")
    assert (code, log) == (
        2,
        "digit: no such file, and no example grammar either: there are dates, digits, home, spelling",
    )


def test_decoding_takes_symbol_tables(toy, tmp_path):
    """As compile_grammar does; `decode.py` and `transcribe.py` share these options."""
    (tmp_path / "G.txt").write_text("0 1 1 2\n1\n")
    (tmp_path / "words.txt").write_text("<eps> 0\nalfa 1\nbravo 2\n")
    tokenizer, table = Tokenizer(toy / "lang"), str(tmp_path / "words.txt")
    files = ResourceConfig(grammar=str(tmp_path / "G.txt"), isymbols=table, osymbols=table)
    grammar = load_resources(files, tokenizer).grammar
    assert grammar.outputs == ("", "bravo") and grammar.tokens().tolist() == sorted(tokenizer.encode("alfa"))
    with pytest.raises(ValueError, match="--isymbols and --osymbols are the symbols of --grammar: give it as well"):
        load_resources(ResourceConfig(osymbols=table), tokenizer)
