#!/usr/bin/env bash
# Tests the wheel as a user gets it: builds it, installs it without the lock file and without k2 into a new environment,
# and runs, from another directory, --help and --version of every command, a transcription, and tests that need no k2: the
# fast ones, and those of whole trainings and decodings. all: the other slow ones too.
#   tests/wheel.sh [PYTHON [TORCH [all]]]     e.g. tests/wheel.sh python3.12 torch; default python3.11 torch==2.13.0
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${1:-python3.11} torch=${2:-torch==2.13.0}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

mkdir "$scratch/source"
(cd "$root" && cp -r hainan_k2 setup.cfg pyproject.toml README.md LICENSE "$scratch/source/")  # building leaves files
"$python" -m venv "$scratch/venv"
bin=$scratch/venv/bin
"$bin/pip" install --quiet "$torch"
"$bin/pip" wheel --quiet --no-deps --wheel-dir "$scratch" "$scratch/source"
"$bin/pip" install --quiet "$scratch"/hainan_k2-*.whl
rm -r "$scratch/source"

# the package comes from the wheel; tests/ and lang/ beside it are the checkout's
mkdir "$scratch/tests-only"
cd "$scratch/tests-only"
"$bin/python" - <<'EOF'
import importlib.metadata as metadata
import platform
import subprocess
import sys
from pathlib import Path

print(*(f"{name} {metadata.version(name)}" for name in ("hainan_k2", "torch", "lhotse", "numpy")), "Python",
      platform.python_version(), flush=True)
commands = [c for c in metadata.distribution("hainan_k2").entry_points if c.group == "console_scripts"]
assert len(commands) > 7, commands
for command in commands:
    for flag, wanted in (("--help", "usage"), ("--version", metadata.version("hainan_k2"))):
        shown = subprocess.run([Path(sys.executable).parent / command.name, flag], text=True, capture_output=True)
        assert shown.returncode == 0 and wanted in shown.stdout, f"{command.name} {flag}: {shown.stderr[-2000:]}"
print(len(commands), "commands: --help and --version", flush=True)
EOF
"$bin/hainan-transcribe" "$root/tests/data/jfk.flac" >words.txt
"$bin/python" - "$root/tests/data/jfk.flac" <<'EOF'
import sys
from pathlib import Path

import hainan_k2

result, = hainan_k2.Recognizer.load().transcribe([sys.argv[1]])
printed = [line.split()[-1] for line in Path("words.txt").read_text().splitlines() if line.startswith(" ")]
assert printed == result.text.split(), (printed, result.text)
assert {"what", "you", "can", "do", "for", "your", "country"} <= set(printed), printed
print("jfk.flac:", result.text, flush=True)
EOF

"$bin/pip" install --quiet pytest pytest-xdist hypothesis psutil
cp -r "$root"/{tests,lang,recipes,README.md,CONTRIBUTING.md,CHANGELOG.md,Dockerfile,setup.cfg,pyproject.toml} .
ln -s "$("$bin/python" -c 'import hainan_k2; print(hainan_k2.__path__[0])')" hainan_k2
test=("$bin/python" -m pytest -q -n 2 --dist loadfile -p no:cacheprovider --ignore tests/recipes)
if [[ ${3:-} == all ]]; then
  "${test[@]}"
else
  "${test[@]}" -m "not slow"
  "${test[@]}" -m slow tests/test_{train,distributed,decode,transcribe,export}.py tests/model tests/training/test_precision.py
fi
