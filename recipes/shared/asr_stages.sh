# The stages that every recipe has in common: manifests, features, BPE, training, decoding, results. To be sourced.
#
# A recipe declares its own options, calls `asr_options` and `parse_options "$@"`, gives the defaults that asr_options
# leaves to the corpus, sets the variables below, defines `make_data`, which leaves a corpus in the folders of
# LibriSpeech in $corpus_dir, and calls `run_asr_stages DEPENDS_ON...` with the options and files that its data
# depend on.
#
#   corpus_dir    holds SPLIT/SPEAKER/CHAPTER/*.flac and *.trans.txt
#   train_splits, dev_splits, test_splits    arrays of SPLITs; dev are pooled for validation, tests are decoded apart
#   perturb_splits    the train_splits that --speed-perturb is for; all if not set
#   test_cuts_dir     where the manifests of the test_splits are; those of stage 2 if not set
#   lang_text         text files with commas between, for the BPE; the training transcripts if not set

shared=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$shared/../.." && pwd)
. "$shared/log.sh"
. "$shared/options.sh"
. "$shared/stages.sh"

asr_options() {
  option stage 0 "first stage: 0 data, 1 manifests, 2 features, 3 lang and LM, 4 train, 5 decode, 6 results"
  option stop_stage 6 "last stage"
  option data_dir "" "where prepared data go; in the recipe's folder if not given"
  option exp_dir "" "where checkpoints, logs and results go; in the recipe's folder if not given"
  option vocab_size "" "BPE pieces, blank included; by corpus if not given"
  option speed_perturb "" "true: train on copies at 0.9 and 1.1 times the speed as well; by corpus if not given"
  option train_config "" "YAML file with options of train.py; by corpus if not given"
  option train_args "" "further options for train.py, e.g. '--num-epochs 20 --device cuda'"
  option avg "" "epoch checkpoints to average for decoding; by corpus if not given"
  option method ar-greedy,nar-greedy "decoding methods with commas between; all for every one. One with lm trains an LM, too"
  option num_jobs 2 "processes for data preparation"
  option profile false "true: print where the time went, by stage and within the training"
  option environment true "make .venv and use it; false: the python on PATH has everything"
}

run_asr_stages() {  # DEPENDS_ON...
  ((stage <= stop_stage && stop_stage <= 6)) || refuse "stages $stage to $stop_stage: they go upwards from 0 to 6"
  [[ -f $train_config ]] || refuse "no such file: --train-config $train_config"
  if $environment; then
    "$shared/environment.sh"
    export PATH="$root/.venv/bin:$PATH"
  fi
  [[ -v perturb_splits ]] || perturb_splits=("${train_splits[@]}")
  lang_dir=$data_dir/lang_bpe_$vocab_size
  run_stage 0 data "$data_dir" make_data "$@"
  run_stage 1 manifests "$data_dir/manifests" make_manifests \
    "${train_splits[*]}" "${dev_splits[*]}" "${test_splits[*]}"
  run_stage 2 features "$data_dir/fbank" make_features "$speed_perturb"
  lm=
  if [[ $method == all || $method == *-lm* ]]; then lm=$lang_dir/lm.arpa; fi
  run_stage 3 lang "$lang_dir" make_lang ${lang_text:+"$lang_text"} ${lm:+lm}
  run_stage 4 train "$exp_dir" train_model "$train_config" "$train_args"
  run_stage 5 decode "$exp_dir/decode" decode_tests "${test_splits[*]}" "$avg" "$method"
  if ((stop_stage == 6)); then print_results; fi
  if $profile; then print_stage_times; fi
}

make_manifests() {
  if $changed; then rm -rf "$data_dir/manifests"; fi
  python "$root/hainan_k2/prepare_manifests.py" --corpus-dir "$corpus_dir" --out-dir "$data_dir/manifests" \
    --split "${train_splits[@]}" "${dev_splits[@]}" "${test_splits[@]}" --num-jobs "$num_jobs"
}

make_features() {
  if $changed; then rm -rf "$data_dir/fbank"; fi
  local perturb=()
  if $speed_perturb; then perturb=(--speed-perturb "${perturb_splits[@]}"); fi
  python "$root/hainan_k2/compute_features.py" --manifest-dir "$data_dir/manifests" --out-dir "$data_dir/fbank" \
    --split "${train_splits[@]}" "${dev_splits[@]}" "${test_splits[@]}" "${perturb[@]}" --num-jobs "$num_jobs"
  pool_cuts train "${train_splits[@]}"
  pool_cuts dev "${dev_splits[@]}"
}

# One manifest out of several splits, in a random order that is always the same: training draws from its surroundings.
pool_cuts() {  # NAME SPLIT...
  local pool=$data_dir/fbank/cuts_$1.jsonl.gz files
  shift
  files=("${@/#/$data_dir/fbank/librispeech_cuts_}")
  gunzip -c "${files[@]/%/.jsonl.gz}" | awk 'BEGIN { srand(0) } { printf "%.9f\t%s\n", rand(), $0 }' |
    LC_ALL=C sort -k1,1 | cut -f2- | gzip >"$pool.part"
  mv "$pool.part" "$pool"
}

make_lang() {
  local source=(--cuts "$data_dir/fbank/cuts_train.jsonl.gz")
  if [[ -n ${lang_text:-} ]]; then source=(--text "$lang_text"); fi
  python "$root/lang/train_bpe.py" "${source[@]}" --vocab-size "$vocab_size" --lang-dir "$lang_dir"
  if [[ -n $lm ]]; then make_lm; fi
}

# A language model of the training transcripts, without the sentences of the tests. A recipe with more text has its own.
make_lm() {
  local tests=("${test_splits[@]/#/$data_dir/manifests/librispeech_cuts_}")
  python "$root/lang/train_lm.py" --cuts "$data_dir/fbank/cuts_train.jsonl.gz" --lang-dir "$lang_dir" --order 3 \
    --exclude-cuts "$(IFS=,; echo "${tests[*]/%/.jsonl.gz}")" --arpa "$lm"
}

train_model() {
  if $changed; then log "options have changed: training goes on in $exp_dir; another --exp-dir begins anew"; fi
  local args
  read -ra args <<<"$train_args"
  if $profile; then args+=(--profile true); fi
  python "$root/hainan_k2/train.py" --config "$train_config" --exp-dir "$exp_dir" --lang-dir "$lang_dir" \
    --train-cuts "$data_dir/fbank/cuts_train.jsonl.gz" --dev-cuts "$data_dir/fbank/cuts_dev.jsonl.gz" "${args[@]}"
}

decode_tests() {
  local split
  for split in "${test_splits[@]}"; do
    log "decoding $split"
    python "$root/hainan_k2/decode.py" --exp-dir "$exp_dir" --avg "$avg" --method "$method" ${lm:+--lm "$lm"} \
      --lang-dir "$lang_dir" \
      --cuts "${test_cuts_dir:-$data_dir/fbank}/librispeech_cuts_$split.jsonl.gz" --out-dir "$exp_dir/decode"
  done
}

print_results() {
  log "stage 6: results"
  python "$shared/results.py" "$exp_dir/decode" >"$exp_dir/results.md"
  cat "$exp_dir/results.md"
  log "the same is in $exp_dir/results.md"
}
