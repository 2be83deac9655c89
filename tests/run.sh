#!/usr/bin/env bash
# All tests, in the environment that the recipes use, with a browser for those that look at pages where one can be had
# (tests/browser.sh); arguments go to pytest.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/recipes/shared/environment.sh"
"$root/tests/browser.sh"
cd "$root"
exec .venv/bin/python -m pytest "$@"
