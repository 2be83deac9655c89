"""Incompatible versions of lhotse and torch are reported in one line before training."""

import pytest
import torch

from hainan_k2 import train
from hainan_k2.data.compatibility import check_lhotse
from tests.toy import train_command


def refuse_arguments(sampler, **arguments):
    """Requires the argument that the installed lhotse does not pass."""
    raise TypeError("object.__init__() takes exactly one argument (the instance to initialize)")


def test_incompatible_versions_are_refused(toy, monkeypatch, capsys):
    check_lhotse.cache_clear()
    monkeypatch.setattr(torch.utils.data.Sampler, "__init__", refuse_arguments)
    with pytest.raises(SystemExit) as stopped:
        train.main(train_command(toy, "misfit", "--num-epochs", "1"))
    assert stopped.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"does not work with torch {torch.__version__} (object.__init__() takes exactly one argument" in line
    assert line.endswith("torch 2 needs lhotse 1.33 or newer, torch 1.13 needs lhotse 1.32.1")


def test_the_installed_versions_are_compatible():
    check_lhotse.cache_clear()
    check_lhotse()
