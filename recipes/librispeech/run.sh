#!/usr/bin/env bash
# Trains and tests a model on a synthetic corpus, which needs no download (the default), or on LibriSpeech.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../shared/asr_stages.sh"

usage="Trains and tests a HAINAN model on a synthetic corpus, or on LibriSpeech."
option corpus synth "synth (synthesized here, no download), mini, clean-100 or full"
option dl_dir "" "folder with LibriSpeech; without --corpus, the largest corpus that it contains is used"
option synth_hours 2.0 "hours of synthetic training speech; above 2, with thousands of words instead of tens"
option synth_seed 0 "seed of the synthetic corpus"
option features fbank "fbank (Kaldi's filter banks), nemo (NeMo's features, which NeMo and onnx-asr compute) or \
sherpa-onnx (what sherpa-onnx computes in their place)"
asr_options
noise_options
parse_options "$@"

[[ $features =~ ^(fbank|nemo|sherpa-onnx)$ ]] || refuse "--features is fbank, nemo or sherpa-onnx, not '$features'"

set_splits() {  # CORPUS
  case $1 in
    synth) train_splits=(train-clean-100) dev_splits=(dev-clean) test_splits=(test-clean) ;;
    mini) train_splits=(train-clean-5) dev_splits=(dev-clean-2) test_splits=(test-clean) ;;
    clean-100) train_splits=(train-clean-100) dev_splits=(dev-clean dev-other) test_splits=(test-clean test-other) ;;
    full) train_splits=(train-clean-100 train-clean-360 train-other-500)
      dev_splits=(dev-clean dev-other) test_splits=(test-clean test-other) ;;
    *) refuse "--corpus is synth, mini, clean-100 or full, not '$1'" ;;
  esac
  missing=
  local split
  for split in "${train_splits[@]}" "${dev_splits[@]}" "${test_splits[@]}"; do
    [[ -d $corpus_dir/$split ]] || missing+=" $split"
  done
}

tag=$corpus
if [[ $corpus == synth ]]; then tag=synth-${synth_hours}h-$synth_seed; fi
if [[ -n $dl_dir ]]; then
  corpus_dir=$dl_dir/LibriSpeech
  [[ -d $corpus_dir ]] || corpus_dir=$dl_dir
  if [[ ! -v option_given[corpus] ]]; then
    for corpus in full clean-100 mini; do
      set_splits "$corpus"
      if [[ -z $missing ]]; then break; fi
    done
    tag=$corpus
  fi
elif [[ $corpus == synth ]]; then
  corpus_dir=${data_dir:-$recipe/data/$tag}/LibriSpeech
else
  corpus_dir=$recipe/download/LibriSpeech
fi
set_splits "$corpus"
if [[ -n $dl_dir && -n $missing ]]; then
  refuse "--dl-dir $dl_dir has no$missing, which --corpus $corpus needs"
fi

data_dir=${data_dir:-$recipe/data/$tag}
if [[ $features != fbank ]]; then tag+=-$features; fi
tag+=${musan:+-musan}${rir:+-rir}
exp_dir=${exp_dir:-$recipe/exp/$tag}
train_config=${train_config:-$recipe/conf/train_$corpus.yaml}
grammar=$recipe/conf/synth_small.grammar
if awk "BEGIN { exit !($synth_hours > 2) }"; then grammar=$recipe/conf/synth_large.grammar; fi
case $corpus in
  synth) default_option vocab_size 256; default_option speed_perturb false; default_option avg 2 ;;
  *) default_option vocab_size 500; default_option speed_perturb true; default_option avg 10 ;;
esac

make_data() {
  if [[ $corpus == synth && -z $dl_dir ]]; then
    python "$recipe/local/synth_corpus.py" --dir "$data_dir" --grammar "$grammar" --hours "$synth_hours" \
      --seed "$synth_seed" --jobs "$num_jobs"
  elif [[ -n $missing ]]; then
    python "$recipe/local/download.py" --dir "$recipe/download" \
      --splits "$(IFS=,; echo "${train_splits[*]},${dev_splits[*]},${test_splits[*]}")"
  fi
}

run_asr_stages "$corpus" "$synth_hours" "$synth_seed" "$dl_dir" "$grammar"
