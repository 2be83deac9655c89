# Runs the stages of a recipe, each only once. Source this file after log.sh. `stage` and `stop_stage` are the first and
# the last stage to run; if `force` is true, these stages run again even if they are done.
#
#   run_stage 2 features "$data_dir/features" make_features "$speed_perturb" "$config"
#
# calls make_features and then writes the marker FOLDER/.done-features. The marker contains a fingerprint of the
# arguments after the function (of a file, its content) and of the earlier stages. So a recipe that was killed continues
# with the stage that was running, a stage that is done is skipped, and a changed option runs its stage and all later
# ones again. Within the function, $changed is true if FOLDER was begun with other options or `force` is true.
#
# `print_stage_times` prints a table of the stages that ran: wall time, CPU time of all their processes, and the number
# of cores used on average.

fingerprint=
stage_times=()  # NUMBER NAME SECONDS CPU_SECONDS of every stage that ran

run_stage() {  # NUMBER NAME FOLDER FUNCTION [DEPENDS_ON...]
  local number=$1 name=$2 folder=$3 function=$4 begun changed=false cpu_seconds cpu_before
  shift 4
  fingerprint=$(stage_fingerprint "$fingerprint" "$name" "$@")
  if is_done "$folder/.done-$name"; then
    ((stage <= number && number <= stop_stage)) || return 0
    if ! ${force:-false}; then
      log "stage $number ($name) is done: --stage $number --stop-stage $number --force true runs it again"
      return
    fi
    changed=true
  fi
  ((number <= stop_stage)) || return 0
  if ((number < stage)); then
    log "warning: stage $number ($name) was not run with these options; --stage $number runs it"
    return
  fi
  begun=$folder/.begun-$name
  if [[ -f $begun && $(<"$begun") != "$fingerprint" ]]; then changed=true; fi
  log "stage $number: $name"
  rm -f "$folder/.done-$name"
  mkdir -p "$folder"
  printf '%s\n' "$fingerprint" >"$begun"
  measure_cpu "$folder/.times"
  cpu_before=$cpu_seconds
  SECONDS=0
  "$function"
  mkdir -p "$folder"  # the function may have removed it
  measure_cpu "$folder/.times"
  stage_times+=("$number $name $SECONDS $(awk "BEGIN { print $cpu_seconds - $cpu_before }")")
  printf '%s\n' "$fingerprint" >"$begun"
  cp "$begun" "$folder/.done-$name.part"
  mv "$folder/.done-$name.part" "$folder/.done-$name"
  log "stage $number ($name) took $((SECONDS / 60)) min $((SECONDS % 60)) s"
}

# Sets cpu_seconds to the CPU time of all processes that this shell has waited for. `times` must run in this shell, not
# in a subshell, so its output goes through FILE.
measure_cpu() {  # FILE
  times >"$1"
  cpu_seconds=$(awk 'NR == 2 { gsub(/[ms]/, " "); print 60 * $1 + $2 + 60 * $3 + $4 }' "$1")
  rm "$1"
}

print_stage_times() {
  ((${#stage_times[@]})) || return 0
  printf '%s\n' "${stage_times[@]}" | awk '
    BEGIN { printf "%-16s %9s %9s %6s\n", "stage", "seconds", "CPU s", "cores" }
    function row(name, seconds, cpu) { printf "%-16s %9d %9.1f %6.2f\n", name, seconds, cpu, cpu / (seconds ? seconds : 1) }
    { row($1 " " $2, $3, $4); seconds += $3; cpu += $4 }
    END { row("all", seconds, cpu) }'
}

is_done() { [[ -f $1 && $(<"$1") == "$fingerprint" ]]; }

stage_fingerprint() {  # WORD_OR_FILE..., a file by its content
  local word
  for word; do
    if [[ -f $word ]]; then sha256sum <"$word"; else printf '%s\n' "$word"; fi
  done | sha256sum | cut -c1-16
}
