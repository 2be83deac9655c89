#!/usr/bin/env bash
# Makes the model directory that comes with the package: weights in int8, a pruned language model over Brown and the
# dialogues, the methods that transcribe.py takes by default, their weights, and calibrated confidences. Weights and
# calibrations are fitted on the dev set alone; the test sets are decoded at the end.
#
#   recipes/amazon_queen/local/release.sh --model DIR --data-dir DATA --out-dir NEW
#   cp NEW/* hainan_k2/released/
#
# DATA is the --data-dir of run.sh. `run.sh --release true` does the same with the model that it has trained.
set -euo pipefail
local=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$local/../../.." && pwd)
if [[ -d $root/.venv ]]; then PATH=$root/.venv/bin:$PATH; fi
. "$root/recipes/shared/log.sh"
. "$root/recipes/shared/options.sh"

usage="Makes a model directory with language model, default methods, tuned weights and calibrated confidences."
option model released "model directory of hainan-export whose weights are taken"
option data_dir "" "folder with text/brown.txt, text/dialogue-train.txt and manifests/librispeech_cuts_*.jsonl.gz (required)"
option out_dir "" "model directory to make (required)"
option lm "" "language model over words or the model's tokens: ARPA, which is pruned, or a file of hainan-prune-lm (default: \
train one over words on the texts)"
option ngrams 500000 "n-grams that are kept of the language model"
option test_splits test,test-joe,other "test sets to decode with every method, comma-separated; none: none"
parse_options "$@"
[[ -n $data_dir && -n $out_dir ]] || refuse "--data-dir and --out-dir are required"

hainan() { python "$root/hainan_k2/$1.py" "${@:2}"; }
cuts() { echo "$data_dir/manifests/librispeech_cuts_$1.jsonl.gz"; }
work=$out_dir.work
mkdir -p "$work"

# The tokenizer of a model directory is its language folder.
lang_dir=$model
if [[ $model == released ]]; then lang_dir=$root/hainan_k2/released; fi
if [[ -z $lm ]]; then
  log "training the language model: words, spelled in the model's tokens"
  text=$data_dir/text/brown.txt,$data_dir/text/dialogue-train.txt
  mkdir -p "$work/lang"
  cp "$lang_dir/bpe.model" "$lang_dir/tokens.txt" "$work/lang/"
  python "$root/lang/make_lexicon.py" --text "$text" --lang-dir "$work/lang"
  python "$root/lang/train_lm.py" --text "$text" --words "$work/lang/words.txt" --order 3 --arpa "$work/words.arpa"
  lm=$work/words.arpa
fi
if [[ $lm != *.safetensors ]]; then
  python "$root/lang/prune_lm.py" --arpa "$lm" --lang-dir "$lang_dir" --ngrams "$ngrams" --out "$work/lm.safetensors" \
    --test-cuts "$(cuts dev)"
  lm=$work/lm.safetensors
fi

# On dev viterbi-lm is better than ar-beam, and its search takes a third of the time; rescore takes more than 200 CPU
# seconds for an hour of audio.
log "writing $out_dir"
hainan export --model "$model" --precision int8 --ctc true --lm "$lm" --default-method viterbi-lm,ar-beam \
  --out-dir "$out_dir"

hainan compute_features --manifest-dir "$data_dir/manifests" --out-dir "$work/encoded" --split dev --prefix librispeech \
  --encoder "$out_dir" --num-jobs 1
tune() {  # METHOD [OPTIONS]
  log "tuning and calibrating $1"
  hainan tune --model "$out_dir" --cuts "$work/encoded/librispeech_cuts_dev.jsonl.gz" --out "$work/$1.yaml" --store true --method "$@"
}
for method in ar-greedy nar-greedy sar viterbi; do tune "$method" --calibrate-only true; done
tune viterbi-lm --top-k 16 --lattice-beam 12 --lattice-states 64
# The best of four pairs of weights on dev: to tune them, dev would be decoded a hundred times.
tune ar-beam --beam 8 --context-tokens 4 --lm-scale 0.45 --token-bonus 1.5 --calibrate-only true
tune rescore --lattice ar --beam 8 --lm-scale 0.7 --token-bonus 2

if [[ $test_splits != none ]]; then
  for split in ${test_splits//,/ }; do
    log "decoding $split"
    hainan decode --model "$out_dir" --cuts "$(cuts "$split")" --out-dir "$work/decode" \
      --method ar-greedy,nar-greedy,sar,viterbi,viterbi-lm,ar-beam,rescore
  done
fi
du -sh "$out_dir"
log "cp $out_dir/* $root/hainan_k2/released/ puts it into the package"
