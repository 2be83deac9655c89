#!/usr/bin/env bash
# Fetches Chromium, its driver and missing libraries for the tests of HTML pages, and unpacks them under .venv: Debian's
# packages, not installed, so that root is not needed. Does nothing if the system's browser works. If no browser can be
# fetched, it prints the reason, and these tests are skipped.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$root/.venv/browser
. "$root/recipes/shared/log.sh"

check() { (cd "$root" && .venv/bin/python -m tests.report.browser 2>&1); }  # without a browser: prints the reason and fails

without() {
  log "no browser ($*): the tests of pages are skipped"
  exit 0
}

# apt-get with its own lists and archives. It fetches only packages that the system does not have.
apt() {
  apt-get -qq -o Dir::State::Lists="$folder/lists" -o Dir::Cache="$folder/cache" -o Debug::NoLocking=true \
    -o Acquire::Retries=1 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 "$@"
}

unpack() {
  mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
  apt update &&
    apt install --download-only --no-install-recommends --yes chromium chromium-driver || return
  local package
  for package in "$folder"/cache/archives/*.deb; do
    dpkg-deb --extract "$package" "$folder" || return
  done
}

wrap() {  # NAME PROGRAM: writes a script that starts an unpacked program; none if the system has the program
  if [[ ! -e $folder/$2 ]]; then return; fi
  cat >"$folder/$1" <<END
#!/bin/sh
export LD_LIBRARY_PATH='$(find "$folder/usr/lib" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)'
export FONTCONFIG_FILE='$folder/fonts.conf'
exec '$folder/$2' "\$@"
END
  chmod +x "$folder/$1"
}

main() {
  exec 9<"${BASH_SOURCE[0]}"  # two runs begun together make one browser
  flock 9
  if check >/dev/null; then return; fi
  if ! command -v apt-get >/dev/null; then without "no apt-get to fetch one with"; fi
  rm -rf "$folder"
  mkdir -p "$folder"
  log "fetching Chromium and its driver for the tests (about 150 MB)"
  if ! unpack >"$folder.log" 2>&1; then without "$(tail -n 1 "$folder.log"), in $folder.log"; fi
  rm -rf "$folder/lists" "$folder/cache"
  cat >"$folder/fonts.conf" <<END
<?xml version="1.0"?>
<fontconfig><dir>/usr/share/fonts</dir><dir>$folder/usr/share/fonts</dir><cachedir>$folder/fonts</cachedir></fontconfig>
END
  wrap run usr/lib/chromium/chromium
  wrap driver usr/bin/chromedriver
  local why
  why=$(check) || without "$why"
}

main
