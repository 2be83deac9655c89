"""The environment script, with stand-ins for Python and pip: its steps, and that they run only once."""

import os
import shutil
import subprocess

import pytest

from tests.recipes.shell import SHARED

# A Python that copies itself into a venv, logs its arguments, and fails if they contain $FAIL.
PYTHON = """#!/bin/bash
echo "$*" >>"$CALLS"
case "$*" in
  *"${FAIL:-nothing fails}"*) exit 1 ;;
  *ensurepip*) exit 0 ;;
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  *"print("*) echo "${VERSION:-311}" ;;
esac
"""
KALDIFEAT = '#!/bin/bash\necho "kaldifeat $1" >>"$CALLS"\n[[ ${FAIL:-} != "no compiler" ]]\n'


@pytest.fixture
def checkout(tmp_path):
    """A repository with the real script and stand-ins for the programs it calls."""
    files = tmp_path / "repo" / "recipes" / "shared" / "environment"
    files.mkdir(parents=True)
    for name in ("environment.sh", "log.sh"):
        shutil.copy(SHARED / name, files.parent)
    for name in ("requirements.in", "requirements-k2.txt", "requirements-py311.lock"):
        (files / name).write_text(f"{name}\n")
    (tmp_path / "repo" / "setup.cfg").write_text("[metadata]\n")
    (tmp_path / "bin").mkdir()
    scripts = {files / "install_kaldifeat.sh": KALDIFEAT, tmp_path / "bin" / "python3.11": PYTHON}
    for path, text in scripts.items():
        path.write_text(text)
        path.chmod(0o755)
    for tool in ("bash", "cat", "cp", "cut", "date", "dirname", "flock", "mkdir", "sha256sum", "uname"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    return tmp_path


def run(checkout, **env):
    """The script's result, and its calls of pip and of the kaldifeat script."""
    calls = checkout / "calls"
    calls.write_text("")
    env = {"PATH": str(checkout / "bin"), "CALLS": str(calls), **env}
    done = subprocess.run(
        [checkout / "repo/recipes/shared/environment.sh"], cwd=checkout, text=True, capture_output=True, env=env
    )
    return done, [
        line for line in calls.read_text().splitlines() if "pip install" in line or line.startswith("kaldifeat")
    ]


def test_installs_the_locked_packages_then_hainan_k2_only_once(checkout):
    done, calls = run(checkout)
    assert done.returncode == 0, done.stderr
    assert [("py311.lock" in c, "--require-hashes" in c, "-e" in c.split()) for c in calls] == [
        (True, True, False),
        (False, False, False),
        (False, False, True),
    ]
    assert "--no-deps" in calls[0].split()  # nothing is resolved, so what comes out later on PyPI does not matter
    assert "kaldifeat is ready" in done.stderr
    marker = checkout / "repo/.venv/.complete"
    before = marker.stat().st_mtime_ns
    done, calls = run(checkout)
    assert (done.returncode, done.stderr, calls) == (0, "", []) and marker.stat().st_mtime_ns == before


def test_a_changed_lock_is_installed(checkout):
    run(checkout)
    (checkout / "repo/recipes/shared/environment/requirements-py311.lock").write_text("changed\n")
    assert len(run(checkout)[1]) == 3
    assert run(checkout)[1] == []


def test_a_failed_install_is_repeated(checkout):
    done, _ = run(checkout, FAIL="require-hashes")
    assert done.returncode == 1 and not (checkout / "repo/.venv/.complete").exists()
    assert len(run(checkout)[1]) == 3


def test_without_kaldifeat_the_log_names_the_replacement(checkout):
    done, _ = run(checkout, FAIL="no compiler")
    assert done.returncode == 0 and "kaldi-native-fbank computes the features instead" in done.stderr


def test_other_pythons_get_k2_by_hash(checkout):
    os.rename(checkout / "bin/python3.11", checkout / "bin/python3.10")
    done, calls = run(checkout, VERSION="310")
    assert done.returncode == 0, done.stderr
    assert "requirements.in" in calls[0] and "--require-hashes" not in calls[0]
    assert "--no-deps --require-hashes" in calls[1] and "requirements-k2.txt" in calls[1]


def test_without_a_python_the_error_names_the_versions(checkout):
    (checkout / "bin/python3.11").unlink()
    done, _ = run(checkout)
    assert done.returncode == 2 and "needs Python 3.11 (or 3.10, 3.9)" in done.stderr


def test_uv_is_used_if_installed(checkout):
    (checkout / "bin/uv").write_text('#!/bin/bash\necho "uv: $*" >>"$CALLS"\n')
    (checkout / "bin/uv").chmod(0o755)
    done, calls = run(checkout)
    assert done.returncode == 0, done.stderr
    assert [call.startswith("uv: pip install") for call in calls] == [True, False, True]
    assert f"--python {checkout}/repo/.venv/bin/python --require-hashes" in calls[0]
