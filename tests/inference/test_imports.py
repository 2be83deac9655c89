"""The public names, and that importing inference loads nothing that it does not use."""

import json
import subprocess
import sys

import pytest

import hainan_k2
from tests.toy import ROOT

UNUSED = ("lhotse", "scipy.signal", "jiwer", "matplotlib", "k2", "hainan_k2.training", "hainan_k2.fsa.losses")


def loaded_by(code):
    """The modules that a new process has loaded after running `code`."""
    script = f"import json, sys\n{code}\nprint(json.dumps(list(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", script], cwd=ROOT, text=True, capture_output=True, check=True)
    return set(json.loads(shown.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", ["", ".recognizer", ".engine", ".streaming"])
def test_inference_loads_no_training_and_no_corpus(module):
    loaded = loaded_by(f"import hainan_k2.inference{module}")
    assert "hainan_k2.inference" in loaded and not loaded & set(UNUSED)


@pytest.mark.parametrize("command", ["transcribe", "decode"])
def test_options_are_made_without_torch(command):
    assert not loaded_by(f"import hainan_k2.{command}") & {*UNUSED, "torch", "numpy"}


def test_public_names_are_imported_when_they_are_used():
    assert not loaded_by("import hainan_k2") & {*UNUSED, "torch"}
    assert set(hainan_k2.__all__) <= set(dir(hainan_k2))
    for name in hainan_k2.__all__:
        value = getattr(hainan_k2, name)
        assert getattr(value, "__module__", "hainan_k2").startswith("hainan_k2")
    with pytest.raises(AttributeError, match="no attribute 'Recogniser'"):
        hainan_k2.Recogniser  # noqa: B018
