# Stages that are done once. To be sourced, after log.sh; expects `stage` and `stop_stage`, the first and last to run.
# With `force`, true, these are done again, though they are done.
#
#   run_stage 2 features "$data_dir/features" make_features "$speed_perturb" "$config"
#
# calls make_features and then, as the last thing, writes FOLDER/.done-features. The marker holds a fingerprint of the
# words given after the function, of the content of those that are files, and of the stages before: a recipe that was
# killed goes on where it stood, a stage that is done is passed over, and a changed option runs its own stage and all
# later ones again. In the function, $changed says whether FOLDER was begun with other options, or force makes it again.

fingerprint=

run_stage() {  # NUMBER NAME FOLDER FUNCTION [DEPENDS_ON...]
  local number=$1 name=$2 folder=$3 function=$4 begun changed=false
  shift 4
  fingerprint=$(stage_fingerprint "$fingerprint" "$name" "$@")
  if is_done "$folder/.done-$name"; then
    ((stage <= number && number <= stop_stage)) || return 0
    if ! ${force:-false}; then
      log "stage $number ($name) is done already: --stage $number --stop-stage $number --force true does it again"
      return
    fi
    changed=true
  fi
  ((number <= stop_stage)) || return 0
  if ((number < stage)); then
    log "warning: stage $number ($name) was not done with these options; --stage $number does it"
    return
  fi
  begun=$folder/.begun-$name
  if [[ -f $begun && $(<"$begun") != "$fingerprint" ]]; then changed=true; fi
  log "stage $number: $name"
  rm -f "$folder/.done-$name"
  mkdir -p "$folder"
  printf '%s\n' "$fingerprint" >"$begun"
  SECONDS=0
  "$function"
  mkdir -p "$folder"  # the function may have begun it anew
  printf '%s\n' "$fingerprint" >"$begun"
  cp "$begun" "$folder/.done-$name.part"
  mv "$folder/.done-$name.part" "$folder/.done-$name"
  log "stage $number ($name) took $((SECONDS / 60)) min $((SECONDS % 60)) s"
}

is_done() { [[ -f $1 && $(<"$1") == "$fingerprint" ]]; }

stage_fingerprint() {  # of words and of the content of files
  local word
  for word; do
    if [[ -f $word ]]; then sha256sum <"$word"; else printf '%s\n' "$word"; fi
  done | sha256sum | cut -c1-16
}
