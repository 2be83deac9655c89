"""The toy corpus, made once per test session; the marker slow. Tests are small: one thread is faster than several."""

import logging
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the commands that tests start

import pytest
import torch

from recipes.shared.chords import make_cuts
from tests.slow import (  # pytest finds these by their names
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_fixture_setup,
    pytest_runtest_call,
    pytest_terminal_summary,
)
from tests.toy import make_lang

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def toy(toy_task, tmp_path_factory):
    """A folder with train.jsonl.gz, dev.jsonl.gz and lang/, for the files of one module: others use the same names."""
    folder = tmp_path_factory.mktemp("toy")
    for path in toy_task.iterdir():
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="session")
def toy_task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy_task")
    make_cuts(folder, "train", 120, seed=1)
    make_cuts(folder, "dev", 20, seed=2)
    make_lang(folder)
    return folder


@pytest.fixture(autouse=True)
def no_log_of_another_test():
    """Commands log to the standard error of the test that calls them, which is closed when the next one logs."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if type(handler) in (logging.StreamHandler, logging.FileHandler):  # pytest's own are subclasses
            root.removeHandler(handler)
