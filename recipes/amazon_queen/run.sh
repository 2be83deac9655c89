#!/usr/bin/env bash
# Real speech: 4.5 hours of acted dialogue, out of the Debian package of the game Flight of the Amazon Queen.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../shared/asr_stages.sh"

usage="Trains and tests a HAINAN model on the dialogues of Flight of the Amazon Queen, by some thirty actors."
option deb "" "the Debian package, if it is there already; otherwise apt-get downloads it"
option cut_scenes true "false: train without the cut scenes, whose speakers are not known and may be of the test"
asr_options
parse_options "$@"

tag=all
train_splits=(train train-cut) dev_splits=(dev) test_splits=(test test-joe)
if ! $cut_scenes; then tag=dialogues train_splits=(train); fi
data_dir=${data_dir:-$recipe/data/$tag}
exp_dir=${exp_dir:-$recipe/exp/$tag}
corpus_dir=$data_dir/corpus
train_config=${train_config:-$recipe/conf/train.yaml}
default_option vocab_size 256
default_option speed_perturb true
default_option avg 10

make_data() {
  local download=$recipe/download package=flight-of-the-amazon-queen
  mkdir -p "$download"
  if [[ -z $deb ]]; then
    deb=$(find "$download" -name "$package*.deb" | head -n 1)
  fi
  if [[ -z $deb ]]; then
    log "downloading $package (35 MB)"
    (cd "$download" && apt-get download "$package" >&2) ||
      refuse "apt-get could not download $package: get the .deb from a Debian mirror and give it as --deb FILE"
    deb=$(find "$download" -name "$package*.deb" | head -n 1)
  fi
  command -v dpkg-deb >/dev/null || refuse "needs dpkg-deb to unpack $deb"
  if $changed; then rm -rf "$corpus_dir"; fi
  dpkg-deb --extract "$deb" "$data_dir/package"
  python "$recipe/local/prepare.py" --queen "$(find "$data_dir/package" -name queen.1c)" \
    --splits "$recipe/conf/splits.yaml" --dir "$corpus_dir"
  rm -r "$data_dir/package"
}

run_asr_stages "$recipe/conf/splits.yaml"
