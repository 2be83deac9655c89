#!/usr/bin/env bash
# All tests, in the environment that the recipes use; arguments go to pytest.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/recipes/shared/environment.sh"
cd "$root"
exec .venv/bin/python -m pytest "$@"
