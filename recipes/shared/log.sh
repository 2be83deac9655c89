# Log lines with the time on stderr, and the end of a script that cannot go on. To be sourced.

log() { printf '%(%Y-%m-%d %H:%M:%S)T %s\n' -1 "$*" >&2; }

# What the user got wrong ends a script with one line and exit code 2.
refuse() {
  printf '%s: error: %s\n' "${0##*/}" "$*" >&2
  exit 2
}
