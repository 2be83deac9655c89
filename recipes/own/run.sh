#!/usr/bin/env bash
# Trains a model on your own data, or fine-tunes one. ../README.md is the guide.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../shared/asr_stages.sh"

usage="Trains a HAINAN model on your own data, or fine-tunes a model on it."
option data "" "your data: a Kaldi directory, a NeMo manifest, a .csv or .tsv, a folder of audio with .txt files, lhotse \
cuts or Shar, LibriSpeech's folders; or a folder with such sources named train, dev and test (required)"
option dev "" "validation data (default: dev in --data, else what --hold-out takes)"
option test "" "test data (default: test in --data, else what --hold-out takes)"
option hold_out dev=0.05,test=0.05 "parts of --data for validation and test, where it has none"
option kind auto "what the data are: auto, kaldi, nemo, table, folder, cuts, shar, librispeech"
option allow_pipes false "true: run the shell commands in wav.scp or cuts; their output is stored"
option max_left_out 0.0 "largest part of the utterances of a source that may be left out"
option normalise "" "text normalisation: english, german ..., lower, none, or a Python function as module:function (default: that of \
--init-from, else english)"
option init_from "" "fine-tune: released, or a model directory of hainan-export or hainan-import"
option lm_text "" "text files, comma-separated, to train the BPE, the LM and the graph on, beside the transcripts"
option lexicon "" "text file with more words that the graph should have"
option graph "" "LG.safetensors for --method graph (default: it is made from the transcripts and --lm-text)"
option grammar "" "grammar for --method grammar, a file or digits, dates ..."
asr_options
noise_options
parse_options "$@"

[[ -n $data ]] || refuse "--data is required (--help lists what it can be)"

# Prints the source NAME in the folder --data: a folder, or a file with an ending.
source_in_data() {  # NAME
  local path
  [[ -d $data ]] || return 0
  for path in "$data/$1" "$data/$1".{json,jsonl,jsonl.gz,csv,tsv} "$data/cuts_$1".{jsonl,jsonl.gz}; do
    if [[ -e $path ]]; then echo "$path"; return; fi
  done
}

train=$(source_in_data train)
for held_out in dev test; do  # the whole folder would be trained on, with what it is tested on
  [[ -n $train || -z $(source_in_data "$held_out") ]] || refuse "--data $data has $held_out and no train"
done
train=${train:-$data}
dev=${dev:-$(source_in_data dev)} test=${test:-$(source_in_data test)}
if [[ -n $dev && -n $test ]]; then
  sources=("$train" "$dev" "$test") names=train,dev,test hold_out=
elif [[ -z $dev$test ]]; then
  sources=("$train") names=train
else
  refuse "there is ${dev:-$test}: give both --dev and --test, or neither"
fi
for file in "${sources[@]}" ${lm_text//,/ } ${lexicon:+"$lexicon"} ${graph:+"$graph"}; do
  [[ -e $file ]] || refuse "no such file or folder: $file"
done

model_dir=$init_from
if [[ $init_from == released ]]; then model_dir=$root/hainan_k2/released; fi
if [[ -n $init_from ]]; then
  [[ -f $model_dir/config.json ]] || refuse "--init-from $init_from is no model directory: it has no config.json"
  of_model=$(sed -n 's/^ *"normalisation": "\(.*\)".*/\1/p' "$model_dir/config.json")
  of_model=${of_model:-english}
  if [[ $of_model == *:* && -z $normalise ]]; then  # a file does not choose what is imported
    refuse "the texts of $init_from are normalised by a Python function: give --normalise $of_model if you trust it"
  fi
  normalise=${normalise:-$of_model}
  [[ $normalise == "$of_model" ]] || refuse "--normalise $normalise: the texts of $init_from are normalised by $of_model"
fi

tag=$(basename "$(realpath "$data")")
tag=${tag%%.*}${init_from:+-$(basename "$init_from")}
data_dir=${data_dir:-$recipe/data/$tag}
exp_dir=${exp_dir:-$recipe/exp/$tag}
prefix=own more_text=$lm_text more_words=$lexicon
normalise=${normalise:-english} normalise_args=(--normalise "${normalise:-english}")
if [[ $normalise == *:* ]]; then function_args=(--normalise "$normalise"); fi
train_splits=(train) dev_splits=(dev) test_splits=(test)
decode_args+=${graph:+ --graph $graph}${grammar:+ --grammar $grammar}
default_option speed_perturb false
if [[ -n $init_from ]]; then
  features=audio
  train_config=${train_config:-$recipe/conf/finetune.yaml}
  vocab_size=$(grep -c "" "$model_dir/tokens.txt")
  default_option avg 1
else
  train_config=${train_config:-$recipe/conf/train.yaml}
  default_option vocab_size 500
  default_option avg 10
fi

make_data() { :; }  # they are there

make_manifests() {
  if $changed; then rm -rf "$data_dir/manifests"; fi
  python "$root/hainan_k2/prepare_data.py" "${sources[@]}" --split "$names" --out-dir "$data_dir/manifests" \
    --prefix "$prefix" --kind "$kind" --allow-pipes "$allow_pipes" --max-left-out "$max_left_out" \
    ${hold_out:+--hold-out "$hold_out"} "${normalise_args[@]}" --num-jobs "$num_jobs"
}

# Fine-tuning keeps the tokenizer of the model, and computes the features that it expects from the audio.
if [[ -n $init_from ]]; then
  make_lang() {
    mkdir -p "$lang_dir"
    cp "$model_dir/bpe.model" "$model_dir/tokens.txt" "$lang_dir"
  }
fi

run_asr_stages "${sources[@]}" "$names" "$hold_out" "$kind" "$normalise" "$max_left_out" "$lm_text" "$lexicon" \
  "$init_from" ${model_dir:+"$model_dir/config.json"}
