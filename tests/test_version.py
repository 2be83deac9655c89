"""The version that a training records: this project's commit, or the version number."""

import shutil
import subprocess

import pytest

from hainan_k2 import __version__
from hainan_k2.version import PACKAGE, code_version


def git(folder, *words):
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=folder, check=True, capture_output=True
    )


@pytest.fixture
def repository(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("no git")
    git(tmp_path, "init")
    return tmp_path


def package_in(folder):
    (folder / "hainan_k2").mkdir(parents=True)
    (folder / "hainan_k2" / "__init__.py").write_text("")
    return folder / "hainan_k2"


def test_a_checkout_of_this_project_gives_its_commit(repository):
    package = package_in(repository)
    git(repository, "add", ".")
    git(repository, "commit", "-m", "first")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True).stdout
    assert head.startswith(code_version(package)) and len(code_version(package)) >= 7
    (package / "__init__.py").write_text("# changed")
    assert code_version(package).endswith("-dirty")


@pytest.mark.parametrize("place", ["venv/lib/site-packages", "."])
def test_a_repository_of_the_user_does_not(repository, place):
    (repository / "mine.txt").write_text("")
    git(repository, "add", "mine.txt")
    git(repository, "commit", "-m", "mine")
    assert code_version(package_in(repository / place)) == f"version {__version__}"


def test_without_git_it_is_the_version(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version(PACKAGE) == f"version {__version__}"
