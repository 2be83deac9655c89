"""What sherpa-onnx and onnx-asr need of a model and of the folder that they read.

sherpa-onnx   OfflineRecognizer.from_transducer(encoder.onnx, decoder.onnx, joiner.onnx, tokens.txt,
              model_type="nemo_transducer"); reads the metadata of encoder.onnx
onnx-asr      load_model("nemo-conformer-tdt", FOLDER), for an RNN-T nemo-conformer-rnnt: encoder-model.onnx,
              decoder_joint-model.onnx, vocab.txt, config.json

Both take the index of a duration class for the duration, so their graphs have a class for each duration from 0 on.

features         sherpa-onnx                      onnx-asr
nemo             approximated: logged             the same: 80 or 128 bins, normalised, hann window
sherpa-onnx      the same (to 1e-5)               refused
fbank, log-mel   refused                          refused
"""

from __future__ import annotations

import json
import logging
import string
from collections.abc import Sequence
from typing import Union

from hainan_k2.config import shown
from hainan_k2.frontend.nemo_mel import PREEMPHASIS
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.model.hainan import Hainan

RUNTIMES = ("sherpa-onnx", "onnx-asr")
ONNX_ASR_BINS = (80, 128)
BLANK_NAME = "<blk>"  # both find the blank by this name
URL = "https://arxiv.org/abs/2410.02597"

OTHERS = {
    "fbank": "Kaldi's filter banks, normalised per utterance",
    "log-mel": "Whisper's log-mel features",
    "sherpa-onnx": "those of sherpa-onnx",
}
# What was measured is in recipes/RESULTS-export.md.
APPROXIMATION = (
    "sherpa-onnx approximates NeMo's features (Povey window, mel filters up to 7600 Hz, frames centred 5 ms later): it "
    "found other texts than ar-greedy for 52 of 434 utterances of the demo, at the same error rate. A model that is "
    "trained with --features sherpa-onnx takes exactly what sherpa-onnx computes"
)

logger = logging.getLogger(__name__)


def check_runtimes(runtimes: Sequence[str], model: Hainan) -> None:
    """Logs if one of `runtimes` approximates the features of a model.

    Raises ValueError for a model without a transducer, and if one of `runtimes` cannot run it, with the reason.
    """
    if model.config.objective == "ctc":
        raise ValueError("this model has nothing but a CTC head: --format onnx writes transducers")
    spec = FeatureSpec.of_model(model.config)
    able = [f"--runtime {name}" for name in RUNTIMES if not why_not(name, spec)]
    for runtime in runtimes:
        reason = why_not(runtime, spec)
        if reason:
            choices = " or ".join([*able, "--runtime none (for programs of your own)"])
            raise ValueError(f"{runtime} cannot run this model: {reason}. {choices} writes the graphs")
    if "sherpa-onnx" in runtimes and spec.kind == "nemo":
        logger.warning(APPROXIMATION)


def why_not(runtime: str, spec: FeatureSpec) -> str:
    """Why a runtime can neither compute nor approximate these features; empty if it can."""
    if spec.kind == "sherpa-onnx" and runtime == "sherpa-onnx":
        return ""
    if spec.kind != "nemo":
        does = "approximates" if runtime == "sherpa-onnx" else "computes"
        return f"it {does} NeMo's features, and this encoder takes {OTHERS.get(spec.kind, spec.kind)}"
    if spec.window != "hann" or spec.preemphasis != PREEMPHASIS:
        return (
            f"it takes NeMo's features for those with a hann window and pre-emphasis {PREEMPHASIS:g}, and this encoder "
            f"takes {spec.window} and {spec.preemphasis:g}"
        )
    if runtime == "onnx-asr" and spec.num_bins not in ONNX_ASR_BINS:
        return f"it computes 80 or 128 mel bins, and this encoder takes {spec.num_bins}"
    if runtime == "onnx-asr" and not spec.per_feature:
        return "it normalises features per utterance, and this encoder takes them as they are"
    return ""


def runtime_durations(model: Hainan, runtimes: Sequence[str]) -> tuple[int, ...]:
    """The duration classes of the graphs: the model's own, or all from 0 to its longest for a runtime; none for an
    RNN-T."""
    if model.config.objective == "rnnt":
        return ()
    return tuple(range(model.durations[-1] + 1)) if runtimes else model.durations


def metadata(model: Hainan, durations: Sequence[int], state_shape: tuple[Union[str, int], ...]) -> dict[str, str]:
    """The metadata of every graph, by the names that sherpa-onnx reads, and the durations by class."""
    spec = FeatureSpec.of_model(model.config)
    layers, width = state_shape
    values = {
        "vocab_size": model.vocab_size - 1,  # without the blank
        "normalize_type": "per_feature" if spec.normalised else "NA",
        "pred_rnn_layers": layers,
        "pred_hidden": width,
        "subsampling_factor": 8,
        "feat_dim": spec.num_bins,
        "model_type": "EncDecRNNTBPEModel",
        "version": 2,
        "model_author": "hainan_k2",
        "url": f"{URL}#tdt" if durations else URL,  # sherpa-onnx looks for "tdt" in it
        "features": spec.kind,
        "durations": ",".join(map(str, durations)),
    }
    return {name: str(value) for name, value in values.items()}


def token_lines(pieces: Sequence[str]) -> str:
    """tokens.txt and vocab.txt: piece and id of every token, the blank last.

    Raises ValueError for a piece with white space, which would end it in such a line.
    """
    wrong = [piece for piece in pieces if not piece or set(piece) & set(string.whitespace)]
    if wrong:
        raise ValueError(f"token {shown(wrong[0])} is empty or has white space: a line of tokens.txt cannot hold it")
    return "".join(f"{piece} {index}\n" for index, piece in enumerate([*pieces[1:], BLANK_NAME]))


def onnx_asr_config(model: Hainan, max_symbols: int) -> str:
    """config.json of onnx-asr."""
    return (
        json.dumps(
            {
                "model_type": f"nemo-conformer-{model.config.objective}",
                "features_size": model.config.num_mel_bins,
                "subsampling_factor": 8,
                "max_tokens_per_step": max_symbols,
            },
            indent=1,
        )
        + "\n"
    )
