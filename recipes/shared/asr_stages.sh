# The stages that every recipe has in common: manifests, features, BPE, training, decoding, results. To be sourced.
#
# A recipe declares its own options, calls `asr_options` and `parse_options "$@"`, gives the defaults that asr_options
# leaves to the corpus, sets the variables below, defines `make_data`, which leaves a corpus in the folders of
# LibriSpeech in $corpus_dir, and calls `run_asr_stages DEPENDS_ON...` with the options and files that its data
# depend on. What decoding needs and training does not, the language model and the word graph, is made in stage 3 too.
# Another --method does not train again for it: where --stage is behind 3, it is made before stage 5.
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
  option speed_perturb "" "true: train on copies at 0.9 and 1.1 times the speed as well; by corpus if not given" switch
  option train_config "" "YAML file with options of train.py; by corpus if not given"
  option train_args "" "further options for train.py, e.g. '--num-epochs 20 --device cuda'"
  option avg "" "epoch checkpoints to average for decoding; by corpus if not given"
  option method ar-greedy,nar-greedy "decoding methods, commas between; all: every one that needs no graph or grammar. \
One with lm trains an LM, too; graph makes lexicon, word LM and their graph"
  option decode_args "" "further options for decode.py, e.g. '--grammar digits --hotwords names.txt --beam 8'"
  option num_jobs 2 "processes for data preparation"
  option force false "true: do the stages from --stage to --stop-stage again, though they are done"
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
  read -ra decode_options <<<"$decode_args"
  lm='' graph=''
  if [[ $method == all || $method == *-lm* ]] && ! in_decode_args lm; then lm=$lang_dir/lm.arpa; fi
  if [[ ,$method, == *,graph,* ]] && ! in_decode_args graph; then graph=$lang_dir/graph/LG.safetensors; fi
  if ((stage <= 5 && stop_stage >= 5)); then check_decoding; fi
  run_stage 0 data "$data_dir" make_data "$@"
  run_stage 1 manifests "$data_dir/manifests" make_manifests \
    "${train_splits[*]}" "${dev_splits[*]}" "${test_splits[*]}"
  run_stage 2 features "$data_dir/fbank" make_features "$speed_perturb"
  run_stage 3 lang "$lang_dir" make_lang ${lang_text:+"$lang_text"}
  local lang_fingerprint=$fingerprint resources
  if ((stage <= 3)); then make_resources 3; fi
  run_stage 4 train "$exp_dir" train_model "$train_config" "$train_args"
  if ((stage > 3)); then make_resources 5; fi
  run_stage 5 decode "$exp_dir/decode" decode_tests "$resources" "${test_splits[*]}" "$avg" "$method" \
    "${decode_options[@]}"
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

in_decode_args() { [[ " $decode_args " =~ [[:space:]]--$1[=[:space:]] ]]; }  # OPTION

# What decode.py would refuse after hours of training is refused before stage 0.
check_decoding() {
  python "$shared/check_decoding.py" "${0##*/}" "${lm:+lm}${graph:+ graph}" --method "$method" "${decode_options[@]}" ||
    exit
}

make_lang() {
  text_source
  python "$root/lang/train_bpe.py" "${source[@]}" --vocab-size "$vocab_size" --lang-dir "$lang_dir"
}

text_source() {
  source=(--cuts "$data_dir/fbank/cuts_train.jsonl.gz")
  if [[ -n ${lang_text:-} ]]; then source=(--text "$lang_text"); fi
}

# What --method needs beside the model. Sets `resources` to the fingerprint of all of it.
make_resources() {  # NUMBER, of the stage that it counts as
  local before=$fingerprint
  fingerprint=$lang_fingerprint
  if [[ -n $lm ]]; then run_stage "$1" lm "$lang_dir" make_lm; fi
  if [[ -n $graph ]]; then run_stage "$1" graph "${graph%/*}" make_graph; fi
  resources=$fingerprint fingerprint=$before
}

exclude_tests() {
  local tests=("${test_splits[@]/#/$data_dir/manifests/librispeech_cuts_}")
  exclude=(--exclude-cuts "$(IFS=,; echo "${tests[*]/%/.jsonl.gz}")")
}

# A language model of the training transcripts, without the sentences of the tests. A recipe with more text has its own.
make_lm() {
  exclude_tests
  python "$root/lang/train_lm.py" --cuts "$data_dir/fbank/cuts_train.jsonl.gz" --lang-dir "$lang_dir" --order 3 \
    "${exclude[@]}" --arpa "$lm"
}

# Lexicon and word-level language model of the same text as the BPE, and the two as one graph.
make_graph() {
  local dir=${graph%/*}
  text_source
  exclude_tests
  python "$root/lang/make_lexicon.py" "${source[@]}" --lang-dir "$lang_dir"
  python "$root/lang/train_lm.py" "${source[@]}" --words "$lang_dir/words.txt" --order 3 "${exclude[@]}" \
    --arpa "$dir/words.arpa"
  python "$root/lang/arpa_to_fst.py" --arpa "$dir/words.arpa" --words "$lang_dir/words.txt" --out-dir "$dir"
  python "$root/lang/compile_graph.py" --lang-dir "$lang_dir" --g "$dir/G.fst.txt" --out-dir "$dir"
}

train_model() {
  if $changed; then log "training goes on in $exp_dir, by the options of now; another --exp-dir begins anew"; fi
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
      ${graph:+--graph "$graph"} --lang-dir "$lang_dir" \
      --cuts "${test_cuts_dir:-$data_dir/fbank}/librispeech_cuts_$split.jsonl.gz" --out-dir "$exp_dir/decode" \
      "${decode_options[@]}"
  done
}

print_results() {
  log "stage 6: results"
  python "$shared/results.py" "$exp_dir/decode" >"$exp_dir/results.md"
  cat "$exp_dir/results.md"
  log "the same is in $exp_dir/results.md"
}
