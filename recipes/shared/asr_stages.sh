# The stages that all recipes share: manifests, features, BPE, training, decoding, results. Source this file.
#
# A recipe
#   1. declares its own options, then calls `asr_options`, `noise_options` if it has no noise of its own, and
#      `parse_options "$@"`;
#   2. sets the defaults that depend on the corpus, and the variables below;
#   3. defines `make_data`, which writes the corpus to $corpus_dir, in the folder structure of LibriSpeech or as tables;
#   4. calls `run_asr_stages DEPENDS_ON...` with the options and files that its data depend on.
#
#   corpus_dir    contains SPLIT/SPEAKER/CHAPTER/*.flac and *.trans.txt, or with source_kind=table SPLIT.csv as
#                 prepare_data.py reads it
#   train_splits, dev_splits, test_splits    arrays of SPLITs; dev splits are pooled, test splits are decoded one by one
#   perturb_splits    the train_splits that --speed-perturb applies to (default: all)
#   test_cuts_dir     folder with the manifests of the test_splits (default: the features of stage 2)
#   prefix            first part of the names of manifests (default: librispeech)
#   lang_text         comma-separated text files to train the BPE on (default: the training transcripts)
#   more_text, more_words    text files for BPE, LM and graph beside these; and one for the graph's lexicon only
#   normalise_args    --normalise NAME: what is done to texts (default: english)
#   function_args     the same where NAME is a Python function: the commands that load the tokenizer need it
#   init_from         model to start from (default: none)
#   features          fbank, nemo or sherpa-onnx, the features of a FastConformer (default: fbank); audio: training and decoding
#                     compute what the model of init_from expects. With --musan or --rir they compute any features, and
#                     stage 2 only writes cuts
#   encoder_weights   file of Whisper weights, there after stage 0: stage 2 stores the output of its encoder, frozen, and
#                     the model of train_config is trained on this (default: none)
#
# Stage 3 also makes the language model and the word graph, if --method needs them. Training does not depend on them, so
# another --method does not train again. If --stage is above 3, they are made before stage 5.

shared=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$shared/../.." && pwd)
. "$shared/log.sh"
. "$shared/options.sh"
. "$shared/stages.sh"
prefix=librispeech source_kind=librispeech normalise_args=() function_args=() encoder_weights='' musan='' rir=''

asr_options() {
  option stage 0 "first stage: 0 data, 1 manifests, 2 features, 3 lang and LM, 4 train, 5 decode, 6 results"
  option stop_stage 6 "last stage"
  option data_dir "" "folder for prepared data (default: in the recipe's folder)"
  option exp_dir "" "folder for checkpoints, logs and results (default: in the recipe's folder)"
  option vocab_size "" "number of BPE pieces, blank included (default: depends on the corpus)"
  option speed_perturb "" "true: also train at 0.9 and 1.1 times the speed (default: depends on the corpus)" switch
  option train_config "" "YAML file with options of train.py (default: depends on the corpus)"
  option train_args "" "more options for train.py, e.g. '--num-epochs 20 --device cuda'"
  option avg "" "number of epoch checkpoints to average for decoding (default: depends on the corpus)"
  option method ar-greedy,nar-greedy "decoding methods, comma-separated; all: those that need no graph or grammar. \
Methods with lm in their name train an LM first; graph makes a lexicon, a word LM and their graph"
  option tune "" "methods of --method, comma-separated, whose weights stage 5 tunes on the dev set before it decodes; \
--decode-args then has one value for an option"
  option decode_args "" "more options for decode.py, e.g. '--grammar digits --hotwords names.txt --beam 8'"
  option num_jobs 2 "processes for data preparation"
  option force false "true: run the stages from --stage to --stop-stage again even if they are done"
  option profile false "true: print the time of each stage and of each part of training"
  option environment true "true: make .venv and use it; false: use the python on PATH"
}

noise_options() {
  option musan "" "folder of the MUSAN corpus (SLR17): mix its noise, music and speech into training audio"
  option rir "" "folder RIRS_NOISES (SLR28): convolve training audio with its room impulse responses"
}

run_asr_stages() {  # DEPENDS_ON...
  ((stage <= stop_stage && stop_stage <= 6)) || refuse "stages $stage to $stop_stage: give --stage <= --stop-stage <= 6"
  [[ -f $train_config ]] || refuse "no such file: --train-config $train_config"
  [[ -z $musan || -d $musan ]] || refuse "no such folder: --musan $musan"
  [[ -z $rir || -d $rir ]] || refuse "no such folder: --rir $rir"
  if $environment; then
    "$shared/environment.sh"
    export PATH="$root/.venv/bin:$PATH"
  fi
  [[ -v perturb_splits ]] || perturb_splits=("${train_splits[@]}")
  lang_dir=$data_dir/lang_bpe_$vocab_size
  if [[ -n $encoder_weights ]]; then features=states; fi
  features=${features:-fbank}
  features_dir=$data_dir/$features feature_args=()
  if [[ ! $features =~ ^(fbank|audio|states)$ ]]; then feature_args=(--features "$features"); fi
  stored_features=("${feature_args[@]}")
  if [[ $features == states ]]; then stored_features=(--encoder-weights "$encoder_weights"); fi
  if [[ $features == audio || -n $musan$rir ]]; then
    features_dir=$data_dir/audio stored_features=(--features audio)
  fi
  read -ra decode_options <<<"$decode_args"
  lm='' graph=''
  if [[ $method == all || $method == *-lm* ]] && ! in_decode_args lm; then lm=$lang_dir/lm.arpa; fi
  if [[ ,$method, == *,graph,* ]] && ! in_decode_args graph; then graph=$lang_dir/graph/LG.safetensors; fi
  if ((stage <= 5 && stop_stage >= 5)); then check_decoding; fi
  run_stage 0 data "$data_dir" make_data "$@"
  noise=
  if [[ -n $musan$rir ]]; then
    local before=$fingerprint
    fingerprint=
    run_stage 0 noise "$data_dir/noise" make_noise_manifests "$musan" "$rir"
    noise=$fingerprint fingerprint=$before  # only training depends on it
  fi
  run_stage 1 manifests "$data_dir/manifests" make_manifests \
    "${train_splits[*]}" "${dev_splits[*]}" "${test_splits[*]}"
  run_stage 2 features "$features_dir" make_features "$speed_perturb" "${stored_features[@]}"
  run_stage 3 lang "$lang_dir" make_lang ${lang_text:+"$lang_text"}
  local lang_fingerprint=$fingerprint resources
  if ((stage <= 3)); then make_resources 3; fi
  run_stage 4 train "$exp_dir" train_model "$train_config" "$train_args" ${noise:+"$noise"}
  if ((stage > 3)); then make_resources 5; fi
  run_stage 5 decode "$exp_dir/decode" decode_tests "$resources" "${test_splits[*]}" "$avg" "$method" \
    "$tune" "${decode_options[@]}"
  if ((stop_stage == 6)); then print_results; fi
  if $profile; then print_stage_times; fi
}

make_noise_manifests() {
  python "$shared/noise_manifests.py" ${musan:+--musan "$musan"} ${rir:+--rir "$rir"} --out-dir "$data_dir/noise"
}

make_manifests() {
  if $changed; then rm -rf "$data_dir/manifests"; fi
  local splits=("${train_splits[@]}" "${dev_splits[@]}" "${test_splits[@]}") sources
  sources=("${splits[@]/#/$corpus_dir/}")
  if [[ $source_kind == table ]]; then sources=("${sources[@]/%/.csv}"); fi
  python "$root/hainan_k2/prepare_data.py" "${sources[@]}" --out-dir "$data_dir/manifests" "${normalise_args[@]}" \
    --kind "$source_kind" --prefix "$prefix" --max-left-out 1 --num-jobs "$num_jobs"
}

make_features() {
  if $changed; then rm -rf "$features_dir"; fi
  local perturb=()
  if $speed_perturb; then perturb=(--speed-perturb "${perturb_splits[@]}"); fi
  python "$root/hainan_k2/compute_features.py" --manifest-dir "$data_dir/manifests" --out-dir "$features_dir" \
    --split "${train_splits[@]}" "${dev_splits[@]}" "${test_splits[@]}" "${perturb[@]}" "${stored_features[@]}" \
    --prefix "$prefix" --num-jobs "$num_jobs"
  pool_cuts train "${train_splits[@]}"
  pool_cuts dev "${dev_splits[@]}"
}

# Pools the cuts of several splits in a fixed random order: training samples from a window of the manifest.
pool_cuts() {  # NAME SPLIT...
  local pool=$features_dir/cuts_$1.jsonl.gz files
  shift
  files=("${@/#/$features_dir/${prefix}_cuts_}")
  gunzip -c "${files[@]/%/.jsonl.gz}" | awk 'BEGIN { srand(0) } { printf "%.9f\t%s\n", rand(), $0 }' |
    LC_ALL=C sort -k1,1 | cut -f2- | gzip >"$pool.part"
  mv "$pool.part" "$pool"
}

in_decode_args() { [[ " $decode_args " =~ [[:space:]]--$1[=[:space:]] ]]; }  # OPTION

# Reports before stage 0 the options that decode.py would only refuse after the training.
check_decoding() {
  python "$shared/check_decoding.py" "${0##*/}" "${lm:+lm}${graph:+ graph}" "$tune" --method "$method" \
    "${decode_options[@]}" || exit
}

make_lang() {
  text_source
  python "$root/lang/train_bpe.py" "${source[@]}" "${normalise_args[@]}" --vocab-size "$vocab_size" --lang-dir "$lang_dir"
}

# Sets `source` to the options that name the texts: the transcripts, or lang_text; and more_text.
text_source() {  # [FILES of more texts]
  local files=${lang_text:-} more
  source=()
  if [[ -z $files ]]; then source=(--cuts "$features_dir/cuts_train.jsonl.gz"); fi
  for more in "${more_text:-}" "${1:-}"; do files+=${more:+${files:+,}$more}; done
  if [[ -n $files ]]; then source+=(--text "$files"); fi
}

# Makes the LM and the graph that --method needs. Sets `resources` to the fingerprint of both.
make_resources() {  # NUMBER of the stage that they belong to
  local before=$fingerprint
  fingerprint=$lang_fingerprint
  if [[ -n $lm ]]; then run_stage "$1" lm "$lang_dir" make_lm; fi
  if [[ -n $graph ]]; then run_stage "$1" graph "${graph%/*}" make_graph; fi
  resources=$fingerprint fingerprint=$before
}

exclude_tests() {
  local tests=("${test_splits[@]/#/$data_dir/manifests/${prefix}_cuts_}")
  exclude=(--exclude-cuts "$(IFS=,; echo "${tests[*]/%/.jsonl.gz}")")
}

# Trains an LM on the texts, without sentences of the test sets. A recipe with more text defines its own.
make_lm() {
  text_source
  exclude_tests
  python "$root/lang/train_lm.py" "${source[@]}" "${normalise_args[@]}" --lang-dir "$lang_dir" --order 3 \
    "${exclude[@]}" --arpa "$lm"
}

# Makes lexicon and word-level LM from the text that the BPE is trained on, and compiles both into one graph.
make_graph() {
  local dir=${graph%/*}
  text_source "${more_words:-}"
  python "$root/lang/make_lexicon.py" "${source[@]}" "${function_args[@]}" --lang-dir "$lang_dir"
  text_source
  exclude_tests
  python "$root/lang/train_lm.py" "${source[@]}" "${normalise_args[@]}" --words "$lang_dir/words.txt" --order 3 \
    "${exclude[@]}" --arpa "$dir/words.arpa"
  python "$root/lang/arpa_to_fst.py" --arpa "$dir/words.arpa" --words "$lang_dir/words.txt" --out-dir "$dir"
  python "$root/lang/compile_graph.py" --lang-dir "$lang_dir" --g "$dir/G.fst.txt" --out-dir "$dir"
}

train_model() {
  if $changed; then
    log "training continues in $exp_dir with the changed options; give another --exp-dir to start from scratch"
  fi
  local args
  read -ra args <<<"$train_args"
  if $profile; then args+=(--profile true); fi
  args=("${feature_args[@]}" "${function_args[@]}" ${init_from:+--init-from "$init_from"}
    ${encoder_weights:+--encoder-weights "$encoder_weights"}
    ${musan:+--noise-cuts "$data_dir/noise/musan_cuts.jsonl.gz"}
    ${rir:+--rir-recordings "$data_dir/noise/rir_recordings.jsonl.gz"} "${args[@]}")
  python "$root/hainan_k2/train.py" --config "$train_config" --exp-dir "$exp_dir" --lang-dir "$lang_dir" \
    --train-cuts "$features_dir/cuts_train.jsonl.gz" --dev-cuts "$features_dir/cuts_dev.jsonl.gz" "${args[@]}"
}

decode_tests() {
  local split tuned
  local model=(--exp-dir "$exp_dir" --avg "$avg" --lang-dir "$lang_dir")
  local resources=(${lm:+--lm "$lm"} ${graph:+--graph "$graph"})
  rm -f "$exp_dir/decoding.json"
  for tuned in ${tune//,/ }; do
    log "tuning the weights of $tuned on the dev set"
    python "$root/hainan_k2/tune.py" "${model[@]}" --method "$tuned" "${resources[@]}" --store true \
      --cuts "$features_dir/cuts_dev.jsonl.gz" --out "$exp_dir/tuned-$tuned.yaml" "${function_args[@]}" \
      "${decode_options[@]}"
  done
  for split in "${test_splits[@]}"; do
    log "decoding $split"
    python "$root/hainan_k2/decode.py" "${model[@]}" --method "$method" "${resources[@]}" \
      --cuts "${test_cuts_dir:-$features_dir}/${prefix}_cuts_$split.jsonl.gz" --out-dir "$exp_dir/decode" \
      "${function_args[@]}" "${decode_options[@]}"
  done
}

print_results() {
  log "stage 6: results"
  python "$shared/results.py" "$exp_dir/decode" >"$exp_dir/results.md"
  cat "$exp_dir/results.md"
  log "this table is also in $exp_dir/results.md"
}
