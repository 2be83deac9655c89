# Logging with time stamps on stderr, and errors that end a script. Source this file.

log() { printf '%(%Y-%m-%d %H:%M:%S)T %s\n' -1 "$*" >&2; }

# Ends the script because of a user error: one line on stderr, exit code 2.
refuse() {
  printf '%s: error: %s\n' "${0##*/}" "$*" >&2
  exit 2
}
