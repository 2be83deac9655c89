"""A lhotse and a torch that do not work with each other are told in one line before anything is trained."""

import pytest
import torch

from hainan_k2 import train
from hainan_k2.data.compatibility import check_lhotse
from tests.toy import train_command


def refuse_arguments(sampler, **arguments):
    """Takes the arguments that the installed lhotse does not give."""
    raise TypeError("object.__init__() takes exactly one argument (the instance to initialize)")


def test_a_pair_that_does_not_fit_is_refused(toy, monkeypatch, capsys):
    check_lhotse.cache_clear()
    monkeypatch.setattr(torch.utils.data.Sampler, "__init__", refuse_arguments)
    with pytest.raises(SystemExit) as stopped:
        train.main(train_command(toy, "misfit", "--num-epochs", "1"))
    assert stopped.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"does not work with torch {torch.__version__} (object.__init__() takes exactly one argument" in line
    assert line.endswith("torch 2 needs lhotse 1.33 or newer, torch 1.13 needs lhotse 1.32.1")


def test_the_installed_pair_fits():
    check_lhotse.cache_clear()
    check_lhotse()
