#!/usr/bin/env bash
# The tests, in the environment that the recipes use; arguments go to pytest. Tests of pages need a browser:
# tests/browser.sh fetches one where it can.
#   tests/run.sh                      all tests
#   tests/run.sh -m "not slow"        the fast ones
#   tests/run.sh tests/fsa -k store   some
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/recipes/shared/environment.sh"
"$root/tests/browser.sh"
cd "$root"
# In two processes the fast tests take less than a minute on two cores.
if [[ " $* " == *" -m not slow "* && " $* " != *" -n "* && " $* " != *" --write-slow-list "* ]]; then
  set -- -n 2 --dist loadfile "$@"
fi
exec .venv/bin/python -m pytest "$@"
