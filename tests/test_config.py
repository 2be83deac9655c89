"""Flags and YAML keys are made from dataclasses; errors are one line."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import MISSING, dataclass
from typing import Optional

import pytest

from hainan_k2 import __version__, cli
from hainan_k2.cli import parse
from hainan_k2.config import ModelConfig, as_dict, check_options, first_names, from_dict, option
from hainan_k2.data.config import DataConfig
from hainan_k2.export import ExportConfig
from hainan_k2.search import SearchConfig
from hainan_k2.training.objective import LossConfig
from hainan_k2.training.optim import OptimConfig
from hainan_k2.training.trainer import LoopConfig


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


@pytest.mark.parametrize(
    "argv, message",
    [
        ([], "--where"),
        (["--where", "x", "--count", "many"], "count is 'many'"),
        (["--where", "x", "--cou", "1"], "--cou"),
        (["--where", "x", "--loud", "maybe"], "true or false"),
        (["--where", "x", "--config", "/none.yaml"], "none.yaml"),
    ],
)
def test_bad_options_exit_2_with_one_line(argv, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(argv, "test", Things)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "text, message",
    [
        ("cuont: 3\n", "cuont"),
        ("- 1\n", "lines like"),
        ("a: [1\n", "line 2"),
        ("where: a\ncount: 1.5\n", "count is 1.5"),
    ],
)
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


@dataclass(frozen=True)
class Bounded:
    kind: str = option("a", "a kind", ("a", "b"))
    share: float = option(0.5, "a share", at_least=0, at_most=1)
    rate: float = option(1.0, "a rate", above=0, below=9)
    sizes: tuple[int, ...] = option((1,), "sizes", at_least=1)
    last: Optional[int] = option(None, "the last", at_least=1)


WRONG = [
    ("kind", "c", "kind is 'c': choose from a, b"),
    ("share", "1.5", "it must be at least 0 and at most 1"),
    ("share", "-0.1", "share is -0.1"),
    ("share", "nan", "share is nan: it must be a finite number"),
    ("rate", "0", "rate is 0.0: it must be above 0 and below 9"),
    ("rate", "9", "rate is 9.0"),
    ("rate", "1e999", "rate is inf"),
    ("sizes", "2,0", "sizes is 0: it must be at least 1"),
    ("last", "0", "last is 0"),
    ("sizes", "9" * 5000, "sizes is "),
]


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("name, value, message", WRONG)
def test_choices_and_bounds_hold_for_flags_and_yaml(name, value, message, optional, tmp_path, capsys):
    path = tmp_path / "c.yaml"
    path.write_text(f"{name}: '{value}'\n")
    for argv in ([f"--{name}", value], [f"--{name}={value}"], ["--config", str(path)]):
        if argv[-1] == "9" * 5000 and not hasattr(sys, "set_int_max_str_digits"):
            continue  # this Python reads the number, and it is in bounds
        with pytest.raises(SystemExit) as stopped:
            parse(argv, "test", **{"bounded": Bounded}) if optional else parse(argv, "test", Bounded)
        err = capsys.readouterr().err
        assert stopped.value.code == 2 and message in err and err.count("\n") == 1 and len(err) < 300


def test_bounds_hold_for_configs_made_in_a_program():
    check_options(Bounded())
    with pytest.raises(ValueError, match="share is 2"):
        check_options(Bounded(share=2))


@pytest.mark.parametrize(
    "cls, options",
    [
        (LossConfig, {"loss": "prunned", "mask_prob": 7, "omega": -1, "sigma": float("nan"), "prune_band": 0}),
        (
            LoopConfig,
            {
                "precision": "bf16",
                "keep_epochs": 0,
                "save_every": 0,
                "log_every": 0,
                "num_epochs": 0,
                "profile": -1,
                "average_every": -1,
            },
        ),
        (OptimConfig, {"lr": -1, "encoder_lr": -1, "lr_final": 2, "clip_norm": 0, "weight_decay": -1}),
        (DataConfig, {"spec_prob": 2, "time_fraction": 2, "noise_prob": -1, "noise_snr": [5], "num_buckets": 0}),
        (
            ModelConfig,
            {
                "dropout": float("nan"),
                "joiner_dropout": 1.0,
                "predictor_dropout": -0.1,
                "durations": [0, 10**9],
                "encoder": "rnn",
                "num_layers": 10**9,
                "d_model": 63,
                "whisper_dim": 2,
                "ctc": 1,
                "vocab_size": True,
                "predictor": 3,
                "num_heads": "many",
                "conv_kernel": None,
                "ffn_factor": [4],
            },
        ),
        (SearchConfig, {"lm_scale": float("inf"), "beam": 0, "ar_weight": 1.1, "token_bonus": float("nan")}),
        (ExportConfig, {"precision": "float8", "avg": 0, "epoch": 0}),
    ],
)
def test_bounds_of_every_config(cls, options):
    required = {"out_dir": "x"} if cls is ExportConfig else {}
    from_dict(cls, required)
    for name, value in options.items():
        with pytest.raises(ValueError, match=name):
            from_dict(cls, {**required, name: value})


def test_equals_signs_and_values_that_begin_with_a_dash():
    (things,) = parse(["--where=a=b", "--rate", "-1e-3", "--lengths", "-1,2", "--loud=true"], "test", Things)
    assert things == Things("a=b", 3, -1e-3, True, (-1, 2), None)
    (things,) = parse(["--where="], "test", Things)
    assert things == Things("")


@dataclass(frozen=True)
class Worded:
    files: tuple[str, ...] = option((), "files", positional=True)
    loud: bool = option(False, "how loud")
    acceptor: Optional[bool] = option(None, "is it one")


@pytest.mark.parametrize(
    "argv, expected",
    [
        (["--loud"], Worded((), True)),
        (["--loud", "a.wav"], Worded(("a.wav",), True)),
        (["a.wav", "--loud", "true", "b.wav"], Worded(("a.wav", "b.wav"), True)),
        (["--loud", "false", "-"], Worded(("-",), False)),
        (["--loud", "--acceptor"], Worded((), True, True)),
        (["--acceptor=none", "maybe"], Worded(("maybe",), False, None)),
        (["--", "--loud", "-x"], Worded(("--loud", "-x"))),
    ],
)
def test_switches_need_no_value_and_do_not_take_a_file_as_one(argv, expected):
    assert parse(argv, "test", Worded) == [expected]


@pytest.mark.parametrize("argv", [["--count"], ["--count", "--loud"]])
def test_a_missing_value_is_named(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(["--where", "x", *argv], "test", Things)
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and "--count" in err and err.count("\n") == 1


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(["--version"], "test", Things)
    assert stopped.value.code == 0 and capsys.readouterr().out.endswith(f" {__version__}\n")


@pytest.mark.parametrize("script", ["train", "score", "bench", "compute_features", "prepare_data"])
def test_version_of_scripts(script, request):
    path = request.config.rootpath / "hainan_k2" / f"{script}.py"
    shown = subprocess.run([sys.executable, path, "--version"], capture_output=True, text=True, cwd="/")
    assert (shown.returncode, shown.stdout) == (0, f"{script}.py {__version__}\n"), shown.stderr


@pytest.mark.parametrize(
    "error, code, message",
    [
        (ValueError("a\n  b"), 2, "error: a b\n"),
        (FileNotFoundError(2, "No such file", "x"), 2, "x: No such file\n"),
        (OSError("disk"), 2, "error: disk\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            ValueError(
                "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
                "  File x, line 1\nValueError: cut c: broken\n"
            ),
            2,
            "error: cut c: broken\n",
        ),
    ],
)
def test_errors_in_one_line(error, code, message, capsys):
    with pytest.raises(SystemExit) as stopped, cli.errors_in_one_line():
        raise error
    err = capsys.readouterr().err
    assert stopped.value.code == code and message in err and err.count("\n") == (code == 2)


def test_a_closed_pipe_is_no_error(request):
    program = "from hainan_k2 import cli\nwith cli.errors_in_one_line():\n    while True: print('x' * 1000)"
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "{program}" | head -n 1 >/dev/null; echo "${{PIPESTATUS[0]}}"'],
        capture_output=True,
        text=True,
        cwd=request.config.rootpath,
    )
    assert (done.stdout, done.stderr) == ("141\n", "")


@pytest.mark.parametrize(
    "content, message",
    [(b"\xff\xfe: 1\n", "c.yaml"), (b"1: 2\ncuont: 3\n", "1, cuont"), (b"where:\n", "where is None")],
)
def test_damaged_yaml(tmp_path, content, message, capsys):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(SystemExit) as stopped:
        parse(["--config", str(path)], "test", Things)
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and message in err and err.count("\n") == 1


def test_configs_survive_plain_dicts():
    config = ModelConfig.preset("S", vocab_size=9, durations=(0, 1, 2, 4))
    assert from_dict(ModelConfig, as_dict(config)) == config
    with pytest.raises(ValueError, match="colour"):
        from_dict(ModelConfig, {"colour": 1})


def test_more_names_than_a_message_holds_are_dots():
    assert [first_names("abcdef"[:count]) for count in (0, 2, 5, 6)] == ["", "a b", "a b c d e", "a b c d e ..."]


@pytest.mark.parametrize("command", ["train", "decode"])
def test_help_of_scripts(command, request):
    script = request.config.rootpath / "hainan_k2" / f"{command}.py"
    shown = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, cwd="/")
    assert shown.returncode == 0 and "--exp-dir" in shown.stdout, shown.stderr
