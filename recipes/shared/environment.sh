#!/usr/bin/env bash
# Makes .venv in the root of the repository: installs the packages of requirements-py311.lock, checked by hash, builds
# kaldifeat (kaldi-native-fbank replaces it if that fails) and installs hainan_k2 in editable mode. Returns at once if
# .venv is complete.
set -euo pipefail
shared=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$shared/../.." && pwd)
files=$shared/environment
venv=$root/.venv
. "$shared/log.sh"

# Prints the path of the first Python that has k2 wheels on PyPI.
find_python() {
  local candidate
  for candidate in python3.11 python3.10 python3.9 python3; do
    if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(not (3, 9) <= sys.version_info < (3, 12))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  refuse "needs Python 3.11 (or 3.10, 3.9) with its venv module, e.g. apt-get install python3.11 python3.11-venv"
}

install_packages() {  # PIP ARGUMENTS...
  if command -v uv >/dev/null; then
    uv pip install --quiet --python "$venv/bin/python" "$@"
  else
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
  fi
}

main() {
  local marker=$venv/.complete wanted python version
  wanted=$(cat "$files"/requirements* "$files/install_kaldifeat.sh" "$root/setup.cfg" | sha256sum)
  if [[ -f $marker && $(<"$marker") == "$wanted" ]]; then return; fi
  exec 9<"${BASH_SOURCE[0]}"  # so that two recipes started together make one environment
  flock 9
  if [[ -f $marker && $(<"$marker") == "$wanted" ]]; then return; fi

  if [[ $(uname -sm) != "Linux x86_64" ]]; then
    refuse "torch 1.13.1 and k2 have wheels for Linux x86_64 only; make $venv yourself (see README.md)"
  fi
  if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    log "making $venv with $python"
    "$python" -m venv "$venv"
  fi
  version=$("$venv/bin/python" -c 'import sys; print("%d%d" % sys.version_info[:2])')
  log "installing packages (about 2 GB the first time)"
  if [[ $version == 311 ]]; then
    # --no-deps: the lock is complete. Else pip asks for coverage[toml] beside the locked coverage, and refuses to start
    # as soon as there is a newer version, which has no hash.
    install_packages --require-hashes --no-deps -r "$files/requirements-py311.lock"
  else
    install_packages -r "$files/requirements.in"
    install_packages --no-deps --require-hashes -r "$files/requirements-k2.txt"
  fi
  if "$files/install_kaldifeat.sh" "$venv/bin/python" >"$venv/kaldifeat.log" 2>&1; then
    log "kaldifeat is ready"
  else
    log "kaldifeat could not be built (see $venv/kaldifeat.log): kaldi-native-fbank computes the features instead"
  fi
  install_packages --no-deps --no-build-isolation -e "$root"
  printf '%s\n' "$wanted" >"$marker"
}

main
