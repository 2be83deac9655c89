"""Flags and YAML keys come from the dataclasses, and bad ones end with one line."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import MISSING, dataclass
from typing import Optional

import pytest

from hainan_k2.config import ModelConfig, as_dict, from_dict, option, parse


@dataclass(frozen=True)
class Things:
    where: str = option(MISSING, "a place")
    count: int = option(3, "how many")
    rate: float = option(0.5, "how fast")
    loud: bool = option(False, "how loud")
    lengths: tuple[int, ...] = option((1, 2), "how long")
    last: Optional[int] = option(None, "the last")


def test_flags_override_the_file_and_the_file_the_defaults(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("where: here\ncount: 5\nlengths: [4, 8]\nloud: true\n")
    (things,) = parse(["--config", str(path), "--count", "7", "--last", "2"], "test", Things)
    assert things == Things("here", 7, 0.5, True, (4, 8), 2)
    (things,) = parse(["--where", "x", "--lengths", "0,1,2", "--rate", "1e-3", "--loud", "true"], "test", Things)
    assert things == Things("x", 3, 1e-3, True, (0, 1, 2), None)


@pytest.mark.parametrize("argv, message", [
    ([], "--where"), (["--where", "x", "--count", "many"], "count is 'many'"),
    (["--where", "x", "--cou", "1"], "--cou"),
    (["--where", "x", "--loud", "maybe"], "true or false"), (["--where", "x", "--config", "/none.yaml"], "none.yaml")])
def test_bad_options_exit_2_with_one_line(argv, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(argv, "test", Things)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


@pytest.mark.parametrize("text, message", [("cuont: 3\n", "cuont"), ("- 1\n", "lines like"), ("a: [1\n", "line 2"),
                                           ("where: a\ncount: 1.5\n", "count is 1.5")])
def test_bad_yaml_exits_2(tmp_path, text, message, capsys):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(SystemExit) as stopped:
        parse(["--config", str(path)], "test", Things)
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_a_class_by_keyword_gives_only_what_was_set():
    argv = ["--where", "x", "--d-model", "8", "--durations", "1,2"]
    things, dimensions = parse(argv, "test", Things, model=ModelConfig)
    assert dimensions == {"d_model": 8, "durations": (1, 2)}


def test_configs_survive_plain_dicts():
    config = ModelConfig.preset("S", vocab_size=9, durations=(0, 1, 2, 4))
    assert from_dict(ModelConfig, as_dict(config)) == config
    with pytest.raises(ValueError, match="colour"):
        from_dict(ModelConfig, {"colour": 1})


@pytest.mark.parametrize("command", ["train", "decode"])
def test_help_of_scripts(command, request):
    script = request.config.rootpath / "hainan_k2" / f"{command}.py"
    shown = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, cwd="/")
    assert shown.returncode == 0 and "--exp-dir" in shown.stdout, shown.stderr
