"""Decodes recordings by sherpa-onnx and onnx-asr from an ONNX folder, beside ar-greedy: texts, error rates, times.

    pip install 'hainan_k2[runtimes]'
    python recipes/shared/runtimes.py --model DIR --onnx DIR --cuts CUTS.jsonl.gz

onnx-asr is tried if the folder was written for it. It computes NeMo's features, sherpa-onnx approximates them, so that
its texts may differ: for a model on NeMo's features the last row is ar-greedy on those of sherpa-onnx, counted against
sherpa-onnx.
"""

from __future__ import annotations

import pathlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])

import numpy as np
import torch
from lhotse import CutSet

from hainan_k2 import Recognizer
from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import option
from hainan_k2.formats.onnx_writer import ENDINGS
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.scoring.wer import score
from hainan_k2.search import SearchConfig
from hainan_k2.search.greedy import ar_greedy
from hainan_k2.text.normalise import normalise

SHERPA_SYMBOLS = 5  # tokens on a frame of a TDT, at most
Decoder = Callable[[np.ndarray], str]  # samples at 16 kHz to text


@dataclass(frozen=True)
class RuntimesConfig:
    model: str = option("released", "model directory that was exported")
    onnx: str = option("", "what hainan-export --format onnx made of it")
    cuts: str = option("", "lhotse cuts with texts")
    count: Optional[int] = option(None, "how many cuts; none: all", at_least=1)

    def __post_init__(self) -> None:
        if not self.onnx or not self.cuts:
            raise ValueError("--onnx and --cuts are required")


def sherpa_onnx(folder: pathlib.Path, precision: str) -> Decoder:
    """Greedy search of sherpa-onnx, on one thread."""
    import sherpa_onnx as runtime

    names = {name: str(folder / f"{name}.{ENDINGS[precision]}") for name in ("encoder", "decoder", "joiner")}
    recognizer = runtime.OfflineRecognizer.from_transducer(
        **names, tokens=str(folder / "tokens.txt"), model_type="nemo_transducer", num_threads=1
    )

    def decode(samples: np.ndarray) -> str:
        stream = recognizer.create_stream()
        stream.accept_waveform(SAMPLING_RATE, samples)
        recognizer.decode_stream(stream)
        return str(stream.result.text).strip()

    return decode


def onnx_asr(folder: pathlib.Path, precision: str) -> Decoder:
    """Greedy search of onnx-asr, on one thread."""
    import onnx_asr as runtime
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    quantization = None if precision == "float32" else precision
    model = runtime.load_model("nemo-conformer-tdt", folder, quantization=quantization, sess_options=options)
    return lambda samples: str(model.recognize(samples)).strip()


def ours(recognizer: Recognizer) -> Decoder:
    """ar-greedy of the model directory, in PyTorch."""
    return lambda samples: recognizer.transcribe([samples])[0].text


def ours_on_sherpa_features(recognizer: Recognizer) -> Decoder:
    """ar-greedy of the model directory on the features of sherpa-onnx, with its limit of tokens on a frame."""
    model, spec = recognizer.model, FeatureSpec("sherpa-onnx", recognizer.spec.num_bins)

    @torch.no_grad()
    def decode(samples: np.ndarray) -> str:
        features = spec.compute(samples)
        frames, lens = model.encoder(features[None], torch.tensor([len(features)]))
        (found,) = ar_greedy(model, frames, lens, SearchConfig(max_symbols=SHERPA_SYMBOLS))
        return recognizer.tokenizer.decode(found.ids)

    return decode


def main() -> None:
    (config,) = parse(None, "Compare sherpa-onnx and onnx-asr with ar-greedy.", RuntimesConfig)
    folder = pathlib.Path(config.onnx)
    with errors_in_one_line():
        cuts = list(CutSet.from_file(config.cuts))[: config.count]
        samples = [cut.load_audio()[0] for cut in cuts]
        torch.set_num_threads(1)
        recognizer = Recognizer.load(config.model, device="cpu")
        decoders = {("ar-greedy", "float32"): ours(recognizer)}
        for_onnx_asr = (folder / f"encoder-model.{ENDINGS['float32']}").exists()
        for make in (onnx_asr, sherpa_onnx) if for_onnx_asr else (sherpa_onnx,):
            decoders.update(
                {(make.__name__.replace("_", "-"), precision): make(folder, precision) for precision in ENDINGS}
            )
        if recognizer.spec.kind == "nemo":
            decoders[("its features", "float32")] = ours_on_sherpa_features(recognizer)
        seconds = sum(len(one) for one in samples) / SAMPLING_RATE
        print(f"{len(cuts)} recordings, {seconds / 60:.1f} min, one thread")
        print(f"{'decoder':12s} {'':8s} {'equal':>6s} {'WER %':>6s} {'CPU s':>6s} {'x real time':>12s}")
        expected: dict[str, list[str]] = {}
        for (name, precision), decode in decoders.items():
            start = time.process_time()
            texts = [decode(one) for one in samples]
            spent = time.process_time() - start
            expected.setdefault(name, texts)
            wanted = expected["sherpa-onnx" if name == "its features" else "ar-greedy"]
            equal = sum(text == one for text, one in zip(texts, wanted))
            rate = score((c.id, normalise(c.supervisions[0].text), text) for c, text in zip(cuts, texts)).wer
            print(f"{name:12s} {precision:8s} {equal:6d} {100 * rate:6.2f} {spent:6.1f} {seconds / spent:12.0f}")


if __name__ == "__main__":
    main()
