#!/usr/bin/env bash
# Trains a TDT model to decode without its predictor: HAINAN's masks, with the encoder as it is. README.md is the guide.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$recipe/../.." && pwd)
. "$root/recipes/shared/log.sh"
. "$root/recipes/shared/options.sh"
. "$root/recipes/shared/stages.sh"

usage="Trains predictor and joint network of a TDT model with random masks, so that it decodes without its predictor."
option stage 0 "first stage: 0 labels, 1 encoder output, 2 train, 3 export, 4 decode, 5 results"
option stop_stage 5 "last stage"
option model released "model directory to start from, of hainan-import or hainan-export"
option train_cuts "" "lhotse cuts to train on, .jsonl.gz"
option dev_cuts "" "lhotse cuts for validation, with transcripts"
option test_cuts "" "lhotse cuts to decode with the model before and after, comma-separated"
option labels_from "" "a decoding method, e.g. ar-beam: train on the model's own words instead of transcripts"
option exp_dir "" "folder for encoder output, checkpoints and results (default: exp in the recipe's folder)"
option train_config "" "YAML file with options of train.py (default: conf/train.yaml)"
option train_args "" "more options for train.py, e.g. '--num-epochs 20'"
option method ar-greedy,nar-greedy,sar,viterbi "decoding methods to compare, comma-separated"
option num_jobs 2 "processes that compute encoder output"
option force false "true: run the stages from --stage to --stop-stage again even if they are done"
option environment true "true: make .venv and use it; false: use the python on PATH"
parse_options "$@"

exp_dir=${exp_dir:-$recipe/exp}
train_config=${train_config:-$recipe/conf/train.yaml}
((stage <= stop_stage && stop_stage <= 5)) || refuse "stages $stage to $stop_stage: give --stage <= --stop-stage <= 5"
for file in "$train_cuts" "$dev_cuts" ${test_cuts//,/ } "$train_config"; do
  [[ -f $file ]] || refuse "no such file: '$file' (--train-cuts and --dev-cuts are required)"
done
if $environment; then
  "$root/recipes/shared/environment.sh"
  export PATH="$root/.venv/bin:$PATH"
fi

make_labels() {
  python "$root/hainan_k2/label.py" --model "$model" --cuts "$train_cuts" --method "$labels_from" \
    --out "$exp_dir/labels.jsonl.gz"
}

make_encoder_output() {
  local labelled=$train_cuts
  if [[ -n $labels_from ]]; then labelled=$exp_dir/labels.jsonl.gz; fi
  if $changed; then rm -rf "$exp_dir/encoded"; fi
  mkdir -p "$exp_dir/encoded"
  cp "$labelled" "$exp_dir/encoded/audio_cuts_train.jsonl.gz"
  cp "$dev_cuts" "$exp_dir/encoded/audio_cuts_dev.jsonl.gz"
  python "$root/hainan_k2/compute_features.py" --encoder "$model" --manifest-dir "$exp_dir/encoded" --prefix audio \
    --split train dev --out-dir "$exp_dir/encoded/out" --num-jobs "$num_jobs"
}

train_model() {
  local args
  read -ra args <<<"$train_args"
  if $changed; then log "training continues in $exp_dir/train; give another --exp-dir to start again"; fi
  python "$root/hainan_k2/train.py" --config "$train_config" --init-from "$model" --freeze-encoder true \
    --exp-dir "$exp_dir/train" --train-cuts "$exp_dir/encoded/out/audio_cuts_train.jsonl.gz" \
    --dev-cuts "$exp_dir/encoded/out/audio_cuts_dev.jsonl.gz" "${args[@]}"
}

export_model() {
  python "$root/hainan_k2/export.py" --exp-dir "$exp_dir/train" --out-dir "$exp_dir/model" --precision float32
}

decode_tests() {
  local cuts which
  for cuts in ${test_cuts//,/ }; do
    for which in before after; do
      log "decoding $cuts with the model $which"
      python "$root/hainan_k2/decode.py" --model "$([[ $which == before ]] && echo "$model" || echo "$exp_dir/model")" \
        --cuts "$cuts" --method "$method" --out-dir "$exp_dir/decode/$which"
    done
  done
}

print_results() {
  local which
  for which in before after; do
    echo "The model $which:"
    python "$root/recipes/shared/results.py" "$exp_dir/decode/$which"
  done
}

if [[ -n $labels_from ]]; then
  run_stage 0 labels "$exp_dir" make_labels "$train_cuts" "$model" "$model/config.json" \
  "$labels_from"
fi
run_stage 1 encoded "$exp_dir/encoded" make_encoder_output "$train_cuts" "$dev_cuts" "$model" \
  "$model/config.json" "$labels_from"
run_stage 2 train "$exp_dir/train" train_model "$train_config" "$train_args"
run_stage 3 export "$exp_dir/model" export_model
if [[ -n $test_cuts ]]; then
  run_stage 4 decode "$exp_dir/decode" decode_tests "$method" "$test_cuts"
  if ((stop_stage == 5)); then print_results; fi
fi
