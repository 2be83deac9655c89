"""Log mel filter banks as Kaldi defines them.

Frames of 25 ms every 10 ms, centred so that N samples give round(N / 160) frames (Kaldi's `snip_edges=False`, and how
lhotse counts frames), without dither: the same samples always give the same features.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hainan_k2.frames import FEATURE_FRAME_SHIFT
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.frontend.samples import FRAME_LENGTH

# Kaldi's limits between 20 and 7600 Hz: with more bins, one of them falls between two frequencies of the 512-point
# transform and is empty (kaldifeat would abort the process).
MIN_MEL_BINS, MAX_MEL_BINS = 3, 124

logger = logging.getLogger(__name__)


def fbank(waveform: Tensor, num_mel_bins: int = 80) -> Tensor:
    """Log mel energies, natural log, of samples at 16 kHz.

    Computed by kaldifeat where it is installed, else by kaldi-native-fbank; they agree to 5e-3.

    Args:
      waveform: (N,) float32 on the CPU, N >= 400, as `hainan_k2.frontend.samples.to_waveform` returns it.
      num_mel_bins: F, 3 to 124.
    Returns:
      (T, F) float32, T = round(N / 160).
    Raises:
      ValueError: for another number of bins.

    >>> fbank(torch.zeros(16000)).shape
    torch.Size([100, 80])
    """
    check_mel_bins(num_mel_bins)
    return (_from_kaldifeat if has_kaldifeat() else _from_native)(waveform, num_mel_bins)


def check_mel_bins(num_mel_bins: int) -> None:
    """Raises ValueError unless Kaldi has filter banks of so many bins."""
    if not MIN_MEL_BINS <= num_mel_bins <= MAX_MEL_BINS:
        raise ValueError(
            f"num_mel_bins is {num_mel_bins}: at 16 kHz Kaldi has filter banks of {MIN_MEL_BINS} to {MAX_MEL_BINS} bins"
        )


@cache
def has_kaldifeat() -> bool:
    """Whether kaldifeat can be used; logs once if not."""
    try:  # the class, not the package: a kaldifeat without its compiled part can still be imported
        from kaldifeat import Fbank as _  # noqa: F401
    except ImportError:
        logger.info("kaldifeat is not installed: kaldi-native-fbank gives the same features")
        return False
    return True


def _from_kaldifeat(waveform: Tensor, num_mel_bins: int) -> Tensor:
    features: Tensor = _kaldifeat_computer(num_mel_bins)(waveform)
    return features


@cache
def _kaldifeat_computer(num_mel_bins: int) -> Any:
    import kaldifeat

    return kaldifeat.Fbank(_set_options(kaldifeat.FbankOptions(), num_mel_bins))


def _from_native(waveform: Tensor, num_mel_bins: int) -> Tensor:
    import kaldi_native_fbank

    return native_frames(_set_options(kaldi_native_fbank.FbankOptions(), num_mel_bins), waveform)


def native_frames(options: Any, waveform: Tensor) -> Tensor:
    """(N,) -> (T, F), what kaldi-native-fbank computes with these FbankOptions."""
    import kaldi_native_fbank

    stream = kaldi_native_fbank.OnlineFbank(options)
    stream.accept_waveform(SAMPLING_RATE, waveform.tolist())
    stream.input_finished()
    return torch.from_numpy(np.stack([stream.get_frame(i) for i in range(stream.num_frames_ready)]))


def _set_options(options: Any, num_mel_bins: int) -> Any:
    set_frame_options(options)
    options.mel_opts.num_bins = num_mel_bins
    options.mel_opts.low_freq = 20.0
    options.mel_opts.high_freq = -400.0  # 400 Hz below half the sampling rate
    return options


def set_frame_options(options: Any) -> Any:
    """The frames of the module's description, in FbankOptions of either package: both mirror Kaldi's options."""
    options.frame_opts.samp_freq = SAMPLING_RATE
    options.frame_opts.frame_shift_ms = 1000 * FEATURE_FRAME_SHIFT
    options.frame_opts.frame_length_ms = 1000 * FRAME_LENGTH
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    return options
