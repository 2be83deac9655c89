import pickle

import lhotse
import numpy as np
import pytest
import torch

from hainan_k2.data.extractors import (
    Fbank,
    FbankConfig,
    LogMel,
    NemoMel,
    NemoMelConfig,
    SherpaMel,
    SherpaMelConfig,
    UtteranceNorm,
    extractor_of,
    transforms_of,
)
from hainan_k2.frontend.fbank import fbank
from hainan_k2.frontend.log_mel import log_mel
from hainan_k2.frontend.nemo_mel import nemo_mel
from hainan_k2.frontend.sherpa_mel import sherpa_mel
from hainan_k2.frontend.spec import FeatureSpec
from tests.data.corpus import babble


def extract(samples: np.ndarray) -> np.ndarray:
    return Fbank().extract(samples.astype(np.float32), 16000)


@pytest.mark.parametrize(
    "extractor, compute",
    [(Fbank(), fbank), (LogMel(), log_mel), (NemoMel(), nemo_mel), (SherpaMel(), sherpa_mel)],
)
def test_extract_returns_the_features_of_the_frontend_in_the_type_of_its_input(extractor, compute):
    samples = babble(1600, seed=4).astype(np.float32)
    tensor = extractor.extract(torch.from_numpy(samples)[None], 16000)
    array = extractor.extract(samples, 16000)
    assert isinstance(tensor, torch.Tensor) and isinstance(array, np.ndarray)
    assert torch.equal(tensor, compute(torch.from_numpy(samples))) and np.array_equal(tensor.numpy(), array)
    with pytest.raises(ValueError, match="16000 Hz audio, not 8000 Hz"):
        extractor.extract(samples, 8000)


@pytest.mark.parametrize("bins", [0, 2, 125, 128])
def test_more_or_fewer_bins_than_kaldi_has(bins):
    with pytest.raises(ValueError, match=f"num_mel_bins is {bins}: .* 3 to 124 bins"):
        Fbank(FbankConfig(num_mel_bins=bins))


@pytest.mark.parametrize(
    "extractor",
    [Fbank(), Fbank(FbankConfig(40)), LogMel(), NemoMel(NemoMelConfig(128, "hamming", 0.5))]
    + [SherpaMel(SherpaMelConfig(40))],
)
def test_can_be_sent_to_another_process_and_written_to_a_file(extractor, tmp_path):
    samples = babble(8000, seed=6).astype(np.float32)
    expected = extractor.extract(samples, 16000)
    assert np.array_equal(pickle.loads(pickle.dumps(extractor)).extract(samples, 16000), expected)
    extractor.to_yaml(tmp_path / "extractor.yaml")
    again = lhotse.FeatureExtractor.from_yaml(tmp_path / "extractor.yaml")
    assert type(again) is type(extractor) and again.config == extractor.config


def test_configurations_of_older_versions_are_read(tmp_path):
    (tmp_path / "old.yaml").write_text("backend: auto\ndevice: cpu\nfeature_type: hainan-fbank\nnum_mel_bins: 40\n")
    again = lhotse.FeatureExtractor.from_yaml(tmp_path / "old.yaml")
    assert type(again) is Fbank and again.config == FbankConfig(40)


def test_features_mix_as_signals_add_up():
    speech, noise = babble(16000, seed=7), babble(16000, seed=8)[::-1].copy()
    mixed = Fbank.mix(extract(speech), extract(noise), 0.25)
    together = extract(speech + 0.5 * noise)  # a quarter of the energy
    assert np.abs(mixed - together).mean() < 0.4
    energy, energy_of_double = (Fbank.compute_energy(extract(x)) for x in (speech, 2 * speech))
    assert energy_of_double == pytest.approx(4 * energy, rel=1e-3)


@pytest.mark.parametrize(
    "spec",
    [FeatureSpec(), FeatureSpec(num_bins=40), FeatureSpec("log-mel"), FeatureSpec("nemo", 128)]
    + [FeatureSpec("sherpa-onnx", 128)],
)
def test_an_extractor_and_its_transforms_agree_with_the_spec(spec):
    samples = babble(12345, seed=9).astype(np.float32)
    features = torch.from_numpy(extractor_of(spec).extract(samples, 16000))[None]
    for transform in transforms_of(spec):
        features = transform(features)
    assert torch.equal(features[0], spec.compute(samples))


def test_encoder_states_are_not_computed_from_audio():
    with pytest.raises(ValueError, match="encoder states are not computed from audio"):
        extractor_of(FeatureSpec("states", 384))
    assert transforms_of(FeatureSpec("states", 384)) == []
    assert isinstance(*transforms_of(FeatureSpec()), UtteranceNorm)
