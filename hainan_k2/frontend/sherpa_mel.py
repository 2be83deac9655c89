"""The log mel energies that sherpa-onnx computes for NeMo's transducers, in place of NeMo's own.

    frame of 25 ms every 10 ms -> pre-emphasis -> Povey window -> |FFT|^2 (512 points) -> Slaney's mel filters, 0 to
    7600 Hz -> log(x + 2^-24) -> each bin of an utterance to mean 0 and variance 1

The frames and the window are Kaldi's, filters, logarithm and normalisation NeMo's. Beside `hainan_k2.frontend.nemo_mel`
the window is narrower, the filters end 400 Hz lower, frame i is centred at sample 160 i + 80, and what lies before and
after the recording is mirrored. Read from the source of sherpa-onnx 2.0.1 (offline-stream.cc, math.cc); versions up to
1.13.4 have a floor of 2^-23 under the energies instead of 2^-24 added to them.
"""

from __future__ import annotations

from torch import Tensor

from hainan_k2.frontend.fbank import native_frames, set_frame_options
from hainan_k2.frontend.nemo_mel import DEVIATION_GUARD, LOG_GUARD

HIGHEST = 7600.0  # Hz
# With more bins, one of them falls between two frequencies of the transform, and kaldi-native-fbank ends the process.
MIN_BINS, MAX_BINS = 3, 188


def sherpa_mel(waveform: Tensor, num_bins: int = 80) -> Tensor:
    """Log mel energies, natural log, not normalised, of samples at 16 kHz.

    Computed by kaldi-native-fbank, as sherpa-onnx does.

    Args:
      waveform: (N,) float32 on the CPU, N >= 400.
      num_bins: F, 3 to 188.
    Returns:
      (T, F) float32, T = round(N / 160).

    >>> import torch
    >>> sherpa_mel(torch.zeros(16000)).shape
    torch.Size([100, 80])
    """
    import kaldi_native_fbank

    options = set_frame_options(kaldi_native_fbank.FbankOptions())
    options.frame_opts.remove_dc_offset = False
    options.mel_opts.num_bins = num_bins
    options.mel_opts.is_librosa = True  # Slaney's scale, and filters of unit area
    options.mel_opts.low_freq, options.mel_opts.high_freq = 0.0, HIGHEST
    options.use_log_fbank = False
    return (native_frames(options, waveform) + LOG_GUARD).log()


def normalise_by_sherpa(features: Tensor) -> Tensor:
    """One utterance (T, F) to zero mean and unit variance in every bin (T, F), with the variance over T frames.

    NeMo's variance (`hainan_k2.frontend.nemo_mel.normalise_per_feature`) is over T - 1.
    """
    centred = features - features.mean(dim=0)
    return centred / (centred.square().mean(dim=0).sqrt() + DEVIATION_GUARD)
