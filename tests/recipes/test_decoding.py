"""Decoding options are checked before a recipe trains; LM and graph are made without training again."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.lattices.decoding_graph import DecodingGraph
from hainan_k2.text.tokenizer import Tokenizer
from tests.recipes.shell import SHARED, bash

HEAD = f"""
export PATH="{Path(sys.executable).parent}:$PATH"
. "{SHARED}/asr_stages.sh"
asr_options
parse_options --environment false --data-dir data --exp-dir exp --vocab-size 40 --avg 1 --speed-perturb false "$@"
train_splits=(train) dev_splits=(dev) test_splits=(test)
"""
# Stand-ins for the functions of the stages: they print that they were called.
STAGES = (
    HEAD
    + """
train_config=settings.yaml
for name in make_data make_manifests make_features make_lang make_lm make_graph train_model print_results; do
  eval "$name() { echo $name; }"
done
decode_tests() { echo "decode_tests lm=$lm graph=$graph ${decode_options[*]}"; }
run_asr_stages
"""
)
BEFORE = ["make_data", "make_manifests", "make_features", "make_lang"]


UNCHECKED = STAGES.replace("run_asr_stages\n", "check_decoding() { :; }\nrun_asr_stages\n")  # saves seconds


def stages(folder, *options, script=UNCHECKED):
    (folder / "settings.yaml").write_text("num_epochs: 1\n")
    done = bash(script, *options, cwd=folder)
    return done.stdout.splitlines(), done


def test_another_method_needs_no_new_training(tmp_path):
    plain = "decode_tests lm= graph= "
    assert stages(tmp_path)[0] == [*BEFORE, "train_model", plain, "print_results"]
    lm = "decode_tests lm=data/lang_bpe_40/lm.arpa graph= "
    assert stages(tmp_path, "--method", "viterbi-lm")[0] == ["make_lm", lm, "print_results"]
    graph = "decode_tests lm= graph=data/lang_bpe_40/graph/LG.safetensors "
    assert stages(tmp_path, "--method", "graph")[0] == ["make_graph", graph, "print_results"]


@pytest.mark.parametrize("method, made", [("viterbi-lm", "make_lm"), ("graph", "make_graph")])
def test_decoding_alone_makes_the_missing_resources(tmp_path, method, made):
    """Run `--stage 5 --method viterbi-lm` after a run without an LM."""
    stages(tmp_path)
    shown, done = stages(tmp_path, "--stage", "5", "--method", method)
    assert shown[0] == made and shown[1].startswith("decode_tests lm=") and "warning" not in done.stderr
    assert stages(tmp_path, "--stage", "5", "--method", method)[0] == ["print_results"]


def test_decode_args(tmp_path):
    (tmp_path / "own.arpa").write_text("")
    options = ("--method", "viterbi-lm,grammar", "--decode-args")
    shown, _ = stages(tmp_path, *options, "--lm own.arpa --lm-scale 0.1,0.2 --grammar digits")
    assert shown == [
        *BEFORE,
        "train_model",
        "decode_tests lm= graph= --lm own.arpa --lm-scale 0.1,0.2 --grammar digits",
        "print_results",
    ]
    again = ("--lm own.arpa --lm-scale 0.1,0.2 --grammar dates",)
    assert stages(tmp_path, *options, *again)[0][0].startswith("decode_tests")
    assert stages(tmp_path, *options, *again)[0] == ["print_results"]
    (tmp_path / "own.arpa").write_text("changed")
    assert stages(tmp_path, *options, *again)[0][0].startswith("decode_tests")


def test_invalid_decoding_options_are_reported_before_stage_0(tmp_path):
    pytest.importorskip("k2")
    options = ("--method", "ar-greedy,grammar")
    shown, done = stages(tmp_path, *options, script=STAGES)
    assert (shown, done.returncode) == ([], 2)
    assert done.stderr.endswith("recipe: error: --method grammar needs --decode-args '--grammar FILE'\n")
    assert stages(tmp_path, *options, "--stop-stage", "4", script=STAGES)[0] == [*BEFORE, "train_model"]


@pytest.fixture
def check(monkeypatch, tmp_path, capsys):
    """The error line of recipes/shared/check_decoding.py, or None."""
    monkeypatch.syspath_prepend(SHARED)
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module("check_decoding")

    def run(made, *arguments, tune=""):
        monkeypatch.setattr(sys, "argv", ["check_decoding.py", "run.sh", made, tune, "--method", *arguments])
        capsys.readouterr()  # warnings of the call before
        try:
            return module.main()
        except SystemExit as end:
            assert end.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("run.sh: error: ")
        return line

    return run


@pytest.mark.parametrize(
    "options, message",
    [
        (("viterby",), "no method 'viterby'"),
        (("nar-greedy,grammar",), "--method grammar needs --decode-args '--grammar FILE'"),
        (("grammar", "--grammar", "digit"), "there are dates, digits, home, spelling"),
        (("ar-greedy", "--hotwords", "names.txt"), "no such file: --hotwords names.txt of --decode-args"),
        (("ar-greedy", "--beem", "3"), "--beem"),
        (("ar-greedy", "--beam", "many"), "many"),
        (("viterbi-lm",), "--method viterbi-lm needs --decode-args '--lm FILE'"),
    ],
)
def test_invalid_options(check, options, message):
    pytest.importorskip("k2")
    assert message in check("", *options)


def test_options_of_tuning(check):
    pytest.importorskip("k2")
    assert check("lm", "viterbi-lm,ar-beam", "--beam", "8", tune="ar-beam,viterbi-lm") is None
    assert check("", "all", tune="ar-beam") is None
    assert "--tune ar-beam: it is not in --method viterbi" in check("", "viterbi", tune="ar-beam")
    assert check("", "nar-greedy", tune="nar-greedy") is None  # its confidences are calibrated
    assert "picks the text by its reference" in check("", "nbest-oracle", tune="nbest-oracle")
    assert "give one value for each option" in check("", "ar-beam", "--beam", "2,8", tune="ar-beam")


def test_weights_are_tuned_before_decoding(tmp_path):
    """With a python that prints its arguments."""
    script = (
        HEAD
        + """
python() { echo "${*#"$root"/}"; }
method=ar-beam,viterbi lang_dir=lang features_dir=fbank lm=lm.arpa graph= decode_options=(--beam 8) exp_dir=.
decode_tests
"""
    )
    lines = bash(script, "--tune", "ar-beam", cwd=tmp_path).stdout.splitlines()
    model = "--exp-dir . --avg 1 --lang-dir lang"
    files = "--cuts fbank/cuts_dev.jsonl.gz --out ./tuned-ar-beam.yaml"
    wanted = f"hainan_k2/tune.py {model} --method ar-beam --lm lm.arpa --store true {files} --beam 8"
    assert lines[0] == wanted and lines[1].startswith("hainan_k2/decode.py") and len(lines) == 2
    assert f"{model} --method ar-beam,viterbi --lm lm.arpa" in lines[1]


def test_valid_options(check):
    pytest.importorskip("k2")
    for made, *options in (
        ("", "all"),
        ("lm graph", "viterbi-lm,graph"),
        ("", "grammar", "--grammar", "digits"),
        ("", "ar-beam", "--beam", "2,8"),
    ):
        assert check(made, *options) is None


def test_language_model_and_graph_of_the_training_text(toy, tmp_path):
    """The real functions of stage 3 on a small corpus."""
    pytest.importorskip("k2")
    for name, cuts in (("fbank/cuts_train", "train"), ("manifests/librispeech_cuts_test", "dev")):
        path = tmp_path / "data" / f"{name}.jsonl.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes((toy / f"{cuts}.jsonl.gz").read_bytes())
    (tmp_path / "data/lang/graph").mkdir(parents=True)
    done = bash(
        HEAD
        + "features_dir=data/fbank lang_dir=data/lang; lm=$lang_dir/lm.arpa; graph=$lang_dir/graph/LG.safetensors\n"
        "make_lang; make_lm; make_graph",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    tokenizer = Tokenizer(tmp_path / "data/lang")
    assert NgramLm.read(str(tmp_path / "data/lang/lm.arpa"), tokenizer.pieces).order == 3
    graph = DecodingGraph.read(tmp_path / "data/lang/graph/LG.safetensors", tokenizer.pieces)
    assert {"alfa", "hotel"} < set(graph.words) and len(graph.arcs) > 100


def test_every_recipe_has_these_options():
    for recipe in ("librispeech", "amazon_queen"):
        shown = subprocess.run([SHARED.parent / recipe / "run.sh", "--help"], text=True, capture_output=True)
        assert shown.returncode == 0 and "--decode-args" in shown.stdout and "--force" in shown.stdout
