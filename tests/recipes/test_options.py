"""The option parser of the recipes, options.sh."""

import pytest

from hainan_k2 import __version__
from tests.recipes.shell import ROOT, bash

SCRIPT = """
usage="Prints its options."
option corpus synth "which corpus"
option hours 0.75 "how much"
option stage 0 "first stage"
option redo false "do it again"
option avg "" "epochs to average; by corpus"
option loud "" "say more; by corpus" switch
parse_options "$@"
default_option avg 5
default_option loud false
if $loud; then echo loud; fi
echo "$corpus|$hours|$stage|$redo|$avg"
"""


def test_defaults_and_values(tmp_path):
    assert bash(SCRIPT, cwd=tmp_path).stdout == "synth|0.75|0|false|5\n"
    given = bash(
        SCRIPT, "--corpus", "a b", "--hours", "2", "--stage", "3", "--redo", "true", "--avg", "1", cwd=tmp_path
    )
    assert given.stdout == "a b|2|3|true|1\n"


@pytest.mark.parametrize(
    "args, values",
    [
        (["--corpus=a b=c", "--hours=2"], "a b=c|2|0|false|5"),
        (["--corpus="], "|0.75|0|false|5"),
        (["--redo"], "synth|0.75|0|true|5"),
        (["--redo", "--stage", "3"], "synth|0.75|3|true|5"),
        (["--redo", "false", "--avg=2"], "synth|0.75|0|false|2"),
        (["--redo=true"], "synth|0.75|0|true|5"),
        (["--loud", "--redo"], "loud\nsynth|0.75|0|true|5"),
    ],
)
def test_equals_signs_and_switches(tmp_path, args, values):
    assert bash(SCRIPT, *args, cwd=tmp_path).stdout == values + "\n"


def test_version(tmp_path):
    done = bash(f'"{ROOT}/recipes/librispeech/run.sh" --version', cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"run.sh {__version__}\n")


@pytest.mark.parametrize(
    "args, words",
    [
        (["--corpsu", "x"], "unknown option --corpsu"),
        (["--corpus"], "--corpus needs a value"),
        (["--corpsu=x"], "unknown option --corpsu (--help"),
        (["--stage=two"], "--stage must be a whole number, not 'two'"),
        (["--redo="], "--redo must be true or false, not ''"),
        (["synth"], "unexpected argument synth"),
        (["--stage", "two"], "--stage must be a whole number, not 'two'"),
        (["--stage", "1.5"], "--stage must be a whole number, not '1.5'"),
        (["--stage", "-1"], "--stage must be a whole number, not '-1'"),
        (["--hours", "long"], "--hours must be a number, not 'long'"),
        (["--redo", "yes"], "--redo must be true or false, not 'yes'"),
        (["--avg", "all"], "--avg must be a whole number, not 'all'"),
        (["--stage[$(touch broken)]", "1"], "unknown option"),
    ],
)
def test_errors(tmp_path, args, words):
    done = bash(SCRIPT, *args, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_help_lists_every_option_with_its_default(tmp_path):
    done = bash(SCRIPT, "--help", cwd=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[1] == "Prints its options."
    assert lines[3].split(maxsplit=1) == ["--hours", "how much (default: 0.75)"]
    assert lines[-2].split(maxsplit=1) == ["--avg", "epochs to average; by corpus"]


@pytest.mark.parametrize("recipe", ["librispeech", "amazon_queen"])
@pytest.mark.parametrize(
    "args, words",
    [
        (["--no-such-option", "1"], "unknown option --no-such-option"),
        (["--stage", "4", "--stop-stage", "3"], "stages 4 to 3"),
        (["--train-config", "absent.yaml"], "no such file: --train-config absent.yaml"),
    ],
)
def test_recipes_check_options_before_they_start(tmp_path, recipe, args, words):
    done = bash(f'"{ROOT}/recipes/{recipe}/run.sh" "$@"', *args, cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1


def test_features_of_the_librispeech_recipe(tmp_path):
    done = bash(f'"{ROOT}/recipes/librispeech/run.sh" --features mfcc', cwd=tmp_path)
    assert done.returncode == 2 and "--features is fbank, nemo or sherpa-onnx, not 'mfcc'" in done.stderr


def test_librispeech_recipe_names_what_a_download_folder_lacks(tmp_path):
    (tmp_path / "LibriSpeech" / "train-clean-5").mkdir(parents=True)
    done = bash(f'"{ROOT}/recipes/librispeech/run.sh" --dl-dir . --corpus mini', cwd=tmp_path)
    assert done.returncode == 2
    assert "--dl-dir . has no dev-clean-2 test-clean, which --corpus mini needs" in done.stderr
