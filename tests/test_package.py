"""What the wheel is made of: its version, the commands that it installs, what it asks pip for."""

from __future__ import annotations

import configparser
import importlib

import pytest

import hainan_k2
from tests.toy import ROOT

CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")
COMMANDS = dict(line.split(" = ") for line in CONFIG["options.entry_points"]["console_scripts"].strip().splitlines())


def test_the_version_stands_in_one_place():
    assert CONFIG["metadata"]["version"] == "attr: hainan_k2.__version__"
    assert hainan_k2.__version__.count(".") == 2


def test_every_script_of_the_package_is_a_command():
    scripts = [path for path in (ROOT / "hainan_k2").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")]
    assert len(scripts) > 7
    missing = {path.stem for path in scripts} - {target.split(":")[0].split(".")[-1] for target in COMMANDS.values()}
    assert not missing


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_lead_to_functions(name):
    module, function = COMMANDS[name].split(":")
    assert callable(getattr(importlib.import_module(module), function))
    command = module.split(".")[-1].replace("_", "-")
    shorter = {"import-model": "import", "prepare-data": "data"}  # a word of Python, and a room: files have other names
    assert name == "hainan-" + shorter.get(command, command)


def test_lhotse_s_undeclared_dependency_is_declared():
    """lhotse 1.33 imports urllib3 and does not require it."""
    required = CONFIG["options"]["install_requires"].split()
    assert "urllib3" in required and not [name for name in required if name.startswith("k2")]
