"""--help of the methods: which options are shown for which, how fast, and that the examples can be parsed."""

import re
import shlex
import subprocess
import sys
from dataclasses import fields

import pytest

from hainan_k2 import decode, transcribe
from hainan_k2.search import METHODS, SearchConfig
from hainan_k2.search.help import help_page, named_methods
from hainan_k2.search.resources import ResourceConfig
from tests.toy import ROOT

OPTIONS = {f.name for cls in (SearchConfig, ResourceConfig) for f in fields(cls)}


def shown(command, *argv, capsys):
    """The page that a command prints, and which options of searches and resources it has."""
    with pytest.raises(SystemExit) as end:
        command.main([*argv, "--help"])
    page = capsys.readouterr().out
    assert end.value.code == 0
    return page, {name for name in OPTIONS if f"  --{name.replace('_', '-')} " in page}


@pytest.mark.parametrize("command", [transcribe, decode])
def test_all_methods_are_listed_with_a_line_each(command, capsys):
    page, options = shown(command, capsys=capsys)
    assert not options
    for name, method in METHODS.items():
        (line,) = (line for line in page.splitlines() if line.startswith(f"  {name} "))
        assert method.description in line and ("k2" in line) == method.needs_k2


@pytest.mark.parametrize("name", METHODS)
def test_a_method_shows_its_own_options(name, capsys):
    page, options = shown(transcribe, f"--method={name}", capsys=capsys)
    method = METHODS[name]
    resources = (set(method.needs) | set(method.uses)) - {"pieces"}
    resources |= {"isymbols", "osymbols"} if "grammar" in resources else set()
    assert options == set(method.options) | resources
    assert ("search options:" in page) == bool(method.options)
    assert ("decoding resources: LM, graph, grammar, hotwords:" in page) == bool(resources)


def test_several_methods_and_all(capsys):
    page, options = shown(decode, "--method", "sar,graph", capsys=capsys)
    assert options == {*METHODS["sar"].options, *METHODS["graph"].options, "graph", "word_lm", "hotwords"}
    assert "at least 1, for sar (default: 1)" in re.sub(r"\s+", " ", page)
    assert shown(decode, "--method", "all", capsys=capsys)[1] == OPTIONS


def test_a_name_that_is_no_method(capsys):
    with pytest.raises(SystemExit) as end:
        transcribe.main(["--method", "magic", "--help"])
    assert end.value.code == 2 and "no method 'magic'; there are ar-greedy" in capsys.readouterr().err


@pytest.mark.parametrize("command", [transcribe, decode])
@pytest.mark.parametrize("name", METHODS)
def test_the_example_can_be_parsed(command, name, capsys, monkeypatch):
    example = shown(command, "--method", name, capsys=capsys)[0].splitlines()[-1]
    words, configs = shlex.split(example)[1:], []

    def stop(argv, description, *classes):
        configs.extend(parse(argv, description, *classes))
        raise SystemExit(0)

    parse = command.parse
    monkeypatch.setattr(command, "parse", stop)
    with pytest.raises(SystemExit) as end:
        command.main(words)
    assert end.value.code == 0 and configs[0].method == (name,)
    assert all(getattr(config, need) for config in configs for need in METHODS[name].needs if hasattr(config, need))


@pytest.mark.parametrize(
    "argv, names",
    [
        (["a.wav", "--method", "sar, viterbi", "--method=mbr"], ["mbr"]),
        (["--method", "sar,mbr", "--help"], ["sar", "mbr"]),
        (["--method", "--help"], []),
        (["--method"], []),
        ([], []),
    ],
)
def test_the_methods_of_a_command_line(argv, names):
    assert named_methods(argv) == names


def test_without_an_example_of_the_command_there_is_none():
    assert "example" not in help_page([], "bench.py", "").epilog


@pytest.mark.parametrize("command", ["transcribe", "decode"])
def test_help_loads_neither_torch_nor_k2_nor_lhotse(command):
    code = (
        "import resource, sys\n"
        f"sys.argv = ['{command}.py', '--method', 'all', '--help']\n"
        f"from hainan_k2.{command} import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "loaded = {'torch', 'k2', 'lhotse', 'numpy', 'scipy'} & set(sys.modules)\n"
        "print(sorted(loaded), resource.getrusage(resource.RUSAGE_SELF).ru_utime, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    modules, seconds = done.stderr.rsplit(maxsplit=1)
    assert modules == "[]" and float(seconds) < 1.0
