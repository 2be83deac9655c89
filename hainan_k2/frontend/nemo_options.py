"""The feature options of NeMo's and transformers' models, as options of a ModelConfig. Others are refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hainan_k2.config import shown
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.frontend.nemo_mel import FFT, HOP, LOG_GUARD, MAX_BINS, PREEMPHASIS, WINDOW, WINDOWS

# Options and the values that are supported.
_NEMO_FIXED: dict[str, tuple[Any, ...]] = {
    "sample_rate": (SAMPLING_RATE,),
    "window_size": (WINDOW / SAMPLING_RATE,),
    "window_stride": (HOP / SAMPLING_RATE,),
    "n_fft": (None, FFT),
    "lowfreq": (0,),
    "highfreq": (None, SAMPLING_RATE // 2),
    "log": (True,),
    "log_zero_guard_type": ("add",),
    "log_zero_guard_value": (LOG_GUARD,),
    "mag_power": (2.0,),
    "mel_norm": ("slaney",),
    "frame_splicing": (1,),
    "exact_pad": (False,),
}
_NEMO_OWN = ("features", "window", "preemph", "normalize")
# Options that change nothing for one utterance in evaluation: padding, dither, augmentation, deprecated ones.
_NEMO_UNUSED = (
    *("_target_", "pad_to", "pad_value", "dither", "rng", "nb_augmentation_prob", "nb_max_freq"),
    *("use_torchaudio", "stft_exact_pad", "stft_conv"),
)
_NORMALISE = {"per_feature": True, "NA": False, "none": False, None: False, False: False}

_TRANSFORMERS_FIXED: dict[str, tuple[Any, ...]] = {
    "feature_extractor_type": ("ParakeetFeatureExtractor",),
    "sampling_rate": (SAMPLING_RATE,),
    "hop_length": (HOP,),
    "win_length": (WINDOW,),
    "n_fft": (FFT,),
}
_TRANSFORMERS_UNUSED = ("padding_side", "padding_value", "return_attention_mask", "processor_class")


def nemo_options(preprocessor: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Options of a ModelConfig for the `preprocessor` section of NeMo's model_config.yaml.

    Raises ValueError, beginning with `where`, for an option or a value that is not supported.

    >>> nemo_options({"window_size": 0.025, "features": 80}, "model_config.yaml")["num_mel_bins"]
    80
    """
    given = {"window_size": 0.02, "features": 64, **preprocessor}  # NeMo's defaults
    for name in ("window_size", "window_stride"):  # in seconds; n_window_size and n_window_stride are in samples
        samples = given.pop(f"n_{name}", None)
        if isinstance(samples, int):
            given[name] = samples / SAMPLING_RATE
    _check(given, _NEMO_FIXED, (*_NEMO_OWN, *_NEMO_UNUSED), where)
    normalise = given.get("normalize", "per_feature")
    if not isinstance(normalise, (str, bool, type(None))) or normalise not in _NORMALISE:
        raise _unsupported(where, "normalize", normalise, "per_feature or NA")
    window = given.get("window", "hann")
    if not isinstance(window, str) or window not in WINDOWS:
        raise _unsupported(where, "window", window, " or ".join(WINDOWS))
    return _options(given["features"], given.get("preemph", PREEMPHASIS), where, window, _NORMALISE[normalise])


def transformers_options(preprocessor: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Options of a ModelConfig for transformers' preprocessor_config.json of a ParakeetFeatureExtractor.

    Raises ValueError, beginning with `where`, for an option or a value that is not supported.
    """
    _check(preprocessor, _TRANSFORMERS_FIXED, ("feature_size", "preemphasis", *_TRANSFORMERS_UNUSED), where)
    bins, preemphasis = preprocessor.get("feature_size", 80), preprocessor.get("preemphasis", PREEMPHASIS)
    return _options(bins, preemphasis, where, "hann", True)


def _options(bins: Any, preemphasis: Any, where: str, window: str, normalise: bool) -> dict[str, Any]:
    if isinstance(bins, bool) or not isinstance(bins, int) or not 1 <= bins <= MAX_BINS:
        raise _unsupported(where, "the number of mel bins", bins, f"1 to {MAX_BINS}")
    preemphasis = 0.0 if preemphasis is None else preemphasis
    if isinstance(preemphasis, bool) or not isinstance(preemphasis, (int, float)) or not 0 <= preemphasis < 1:
        raise _unsupported(where, "the pre-emphasis", preemphasis, "at least 0 and below 1")
    return {
        "features": "nemo",
        "num_mel_bins": bins,
        "nemo_window": window,
        "nemo_preemphasis": float(preemphasis),
        "nemo_normalise": normalise,
    }


def _check(given: Mapping[str, Any], fixed: Mapping[str, tuple[Any, ...]], others: tuple[str, ...], where: str) -> None:
    unknown = [str(name) for name in given if name not in fixed and name not in others]
    if unknown:
        raise ValueError(f"{where}: feature option {shown(unknown[0])} is not supported")
    for name, values in fixed.items():
        if name in given and not any(_equal(given[name], value) for value in values):
            raise _unsupported(where, name, given[name], " or ".join(str(v) for v in values if v is not None))


def _equal(given: Any, value: Any) -> bool:
    numbers = [isinstance(x, (int, float)) and not isinstance(x, bool) for x in (given, value)]
    return math.isclose(given, value, rel_tol=1e-6) if all(numbers) else type(given) is type(value) and given == value


def _unsupported(where: str, name: str, given: Any, supported: Any) -> ValueError:
    return ValueError(f"{where}: features with {name} {shown(given)} are not supported: it must be {supported}")
