"""Sound and spectrogram as data URIs."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator

import numpy as np

from hainan_k2.frames import FEATURE_FRAME_SHIFT
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.frontend.fbank import fbank
from hainan_k2.frontend.samples import to_waveform

TILE = 2000  # columns of an image, 20 s: browsers limit the width of an image
RANGE = 14.0  # range of the grey levels, natural log of power: 61 dB
GREYS = 16  # grey levels
KILOHERTZ = (0.5, 1, 2, 4)  # marks of the frequency axis
BINS, LOWEST, HIGHEST = 80, 20.0, 7600.0  # of the filter bank, and its limits in Hz
STEP = SAMPLING_RATE // 50  # samples per value of the waveform's envelope
BLOCK = SAMPLING_RATE * 10  # samples passed to the audio encoder at a time


def data_uri(kind: str, content: bytes) -> str:
    """A data URI of the MIME type `kind`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def sound_uri(samples: np.ndarray) -> str:
    """Samples (N,), mono, 16 kHz, as Opus (4 kB per second), or as FLAC if libsndfile cannot write Opus."""
    import soundfile

    stream = io.BytesIO()
    opus = "OPUS" in soundfile.available_subtypes("OGG")
    form = {"format": "OGG", "subtype": "OPUS"} if opus else {"format": "FLAC", "subtype": "PCM_16"}
    with soundfile.SoundFile(stream, "w", SAMPLING_RATE, 1, **form) as file:
        for start in range(0, len(samples), BLOCK):
            file.write(np.clip(samples[start : start + BLOCK], -1.0, 1.0))
    return data_uri("audio/ogg" if opus else "audio/flac", stream.getvalue())


def spectrogram(samples: np.ndarray) -> Iterator[tuple[str, float]]:
    """Log mel spectrogram of samples (N,) at 16 kHz as PNG images of up to 20 s: (data URI, seconds) of each.

    Louder is darker; low frequencies are at the bottom.

    Raises:
      ValueError: if the samples are shorter than 25 ms.
    """
    energies = fbank(to_waveform(samples), BINS).numpy()  # (T, F)
    high = float(energies.max())
    low = max(high - RANGE, float(np.percentile(energies, 5)))
    loudness = np.clip((energies - low) / max(high - low, 1e-3), 0.0, 1.0)
    steps = np.round(loudness * (GREYS - 1)) / (GREYS - 1)
    levels = np.round(255 * (1 - steps)).astype(np.uint8).T[::-1]  # (F, T), low frequencies at the bottom
    for start in range(0, levels.shape[1], TILE):
        tile = levels[:, start : start + TILE]
        yield data_uri("image/png", grey_png(tile)), tile.shape[1] * FEATURE_FRAME_SHIFT


def envelope(samples: np.ndarray) -> list[int]:
    """The largest absolute value of every 20 ms of samples (N,) at 16 kHz, in percent of the largest of all."""
    padded = np.pad(np.abs(samples), (0, -len(samples) % STEP))
    peaks = padded.reshape(-1, STEP).max(axis=1)
    loudest = float(peaks.max(initial=0.0))
    return [round(100 * float(peak) / loudest) if loudest else 0 for peak in peaks]


def frequency_marks() -> list[tuple[float, float]]:
    """(kHz, height) of the marks of the spectrogram's frequency axis, as a share of its height from the bottom.

    The centres of Kaldi's mel bins are at equal distances between the limits, in mel = 1127 ln(1 + Hz / 700).
    """
    low, high = _mel(LOWEST), _mel(HIGHEST)
    width = (high - low) / (BINS + 1)
    return [(k, ((_mel(1000.0 * k) - low) / width - 0.5) / BINS) for k in KILOHERTZ]


def _mel(hertz: float) -> float:
    return 1127.0 * math.log1p(hertz / 700.0)


def grey_png(levels: np.ndarray) -> bytes:
    """A PNG image of grey levels (height, width), uint8; 0 is black."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "PNG", optimize=True)
    return stream.getvalue()
