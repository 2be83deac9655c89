"""Stage 2: features of the cuts of stage 1: filter banks, NeMo's, sherpa-onnx's, or the output of a frozen encoder.

A finished split is not computed again unless its cuts or the options changed; an interrupted one is continued.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from lhotse.features.base import FeatureExtractor

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from hainan_k2.cli import Parser, errors_in_one_line, start_logging
from hainan_k2.cluster import HELP as CLUSTER
from hainan_k2.cluster import Cluster


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--manifest-dir", type=Path, required=True, help="folder of prepare_data.py's manifests")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder for features and their manifests")
    parser.add_argument("--split", nargs="+", required=True, help="splits to compute, e.g. train dev test")
    parser.add_argument(
        "--speed-perturb",
        nargs="*",
        default=[],
        metavar="SPLIT",
        help="splits that also get copies at 0.9 and 1.1 times the speed",
    )
    parser.add_argument("--prefix", default="", help="first part of the names of manifests")
    parser.add_argument(
        "--features",
        choices=("fbank", "nemo", "sherpa-onnx", "audio"),
        default="fbank",
        help="Kaldi's filter banks, the features of NeMo's models, or those that sherpa-onnx computes in their place; "
        "train.py takes the same option. audio: no features, only the copies of --speed-perturb; training computes "
        "features from the audio, which it can augment",
    )
    parser.add_argument("--num-mel-bins", type=int, default=80, help="mel bins of the features")
    parser.add_argument(
        "--encoder-weights",
        default="",
        metavar="FILE",
        help="weights of a Whisper model (.bin, .whl, .pt, .safetensors): store the output of its encoder instead",
    )
    parser.add_argument(
        "--encoder",
        default="",
        metavar="MODEL_DIR",
        help="a model directory: store the output of its encoder instead, for training with --freeze-encoder",
    )
    parser.add_argument("--num-jobs", type=int, default=1, help="processes")
    parser.add_argument("--dask", default="", metavar="ADDRESS", help=CLUSTER)
    options = parser.parse_args(argv)
    start_logging()
    import torch
    from lhotse import LilcomChunkyWriter
    from lhotse.features.io import NumpyFilesWriter

    from hainan_k2.data.augment import SPEED_FACTORS
    from hainan_k2.data.cuts import ENCODER
    from hainan_k2.data.manifests import manifest_name
    from hainan_k2.data.precompute import copy_cuts, precompute

    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that lhotse starts
    with errors_in_one_line(), ExitStack() as stack:
        unknown = sorted(set(options.speed_perturb) - set(options.split))
        if unknown:
            raise ValueError(f"--speed-perturb {' '.join(unknown)} is not among the splits")
        if options.features == "audio":
            if options.encoder or options.encoder_weights:
                raise ValueError("--features audio stores nothing: leave out --encoder and --encoder-weights")
            for split in options.split:
                manifest = manifest_name(options.prefix, "cuts", split)
                factors = SPEED_FACTORS if split in options.speed_perturb else ()
                copy_cuts(options.manifest_dir / manifest, options.out_dir / manifest, factors)
            return
        extractor = make_extractor(options.features, options.num_mel_bins, options.encoder_weights, options.encoder)
        cluster = stack.enter_context(Cluster(options.dask)) if options.dask else None
        for split in options.split:
            manifest = manifest_name(options.prefix, "cuts", split)
            precompute(
                options.manifest_dir / manifest,
                options.out_dir,
                manifest.split(".")[0],
                extractor,
                speed_factors=SPEED_FACTORS if split in options.speed_perturb else (),
                num_jobs=options.num_jobs,
                # exact: rounding by lilcom would change the losses that are computed from encoder output
                storage=NumpyFilesWriter if options.encoder else LilcomChunkyWriter,
                custom={ENCODER: extractor.config.sha256} if options.encoder else {},
                cluster=cluster,
            )


def make_extractor(features: str, num_mel_bins: int, encoder_weights: str, encoder: str) -> FeatureExtractor:
    """The lhotse extractor of `features` or, with weights or a model directory, of the output of an encoder."""
    from hainan_k2.data.extractors import extractor_of
    from hainan_k2.frontend.spec import FeatureSpec
    from hainan_k2.training.encoder_output import EncoderOutput
    from hainan_k2.training.encoder_states import WhisperStates, WhisperStatesConfig

    if encoder and encoder_weights:
        raise ValueError("--encoder and --encoder-weights are different encoders: give one of them")
    if encoder:
        return EncoderOutput.of_model(encoder)
    if encoder_weights:
        return WhisperStates(WhisperStatesConfig.of_file(encoder_weights))
    return extractor_of(FeatureSpec(features, num_mel_bins))


if __name__ == "__main__":
    main()
