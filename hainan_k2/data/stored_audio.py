"""Audio that is in no file of its own, from shell commands and Shar archives, stored as FLAC."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soundfile

from hainan_k2.files.atomic import atomic_file

_EXACT = ("PCM_S8", "PCM_U8", "PCM_16", "ULAW", "ALAW")  # formats of samples that 16 bits hold


def stored_path(folder: Path, name: str) -> Path:
    """The file in `folder` for the recording `name`, whose unsafe characters are percent-encoded."""
    encoded = quote(name, safe="")
    return folder / f"{encoded if encoded.strip('.') else encoded.replace('.', '%2E')}.flac"


def store_command(command: str, path: Path) -> None:
    """Run a shell command that writes an audio file, such as a pipe of wav.scp, and store its samples.

    Raises ValueError with the command where it fails, or what it writes is not audio.
    """
    done = subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        messages = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ValueError(f"exit code {done.returncode} of {command[:60]}" + (f": {messages[-1]}" if messages else ""))
    try:
        with soundfile.SoundFile(io.BytesIO(done.stdout)) as file:
            rate, subtype = file.samplerate, file.subtype
            integers = subtype.startswith("PCM_") or subtype in _EXACT
            samples = file.read(dtype="int32" if integers else "float32", always_2d=True)
    except soundfile.SoundFileError:
        raise ValueError(f"{command[:60]} wrote {len(done.stdout)} bytes that are not an audio file") from None
    if not len(samples):
        raise ValueError(f"{command[:60]} wrote no samples")
    store_samples(samples, rate, path, "PCM_16" if subtype in _EXACT else "PCM_24")


def store_samples(samples: np.ndarray, rate: int, path: Path, subtype: str) -> None:
    """Write samples (N, channels), int32 or float32 in [-1, 1], as FLAC of 16 or 24 bits, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if samples.dtype.kind == "f":  # by 2^31, as libsndfile reads integers: its own conversion multiplies by 2^15 - 1
        samples = np.clip(np.rint(samples.astype(np.float64) * 2.0**31), -(2.0**31), 2.0**31 - 1).astype(np.int32)
    with atomic_file(path) as stream:
        soundfile.write(stream, samples, rate, subtype=subtype, format="FLAC")
