"""NeMo's features in lhotse: the frames of the frontend, stored or computed, in any batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lhotse import CutSet

from hainan_k2.config import ModelConfig
from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.data.datamodule import eval_loader, train_loader
from hainan_k2.data.extractors import NemoMel, NemoMelConfig
from hainan_k2.data.summary import summarise_cuts
from hainan_k2.frontend.nemo_mel import nemo_mel, normalise_per_feature
from hainan_k2.frontend.spec import FeatureSpec
from tests.data.corpus import babble, write_cuts

SPEC = FeatureSpec("nemo", 128)
MODEL = ModelConfig(features="nemo", num_mel_bins=128)
CONFIG = DataConfig(max_duration=8.0, num_buckets=2, num_workers=0, min_duration=0.0, spec_augment=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """raw.jsonl.gz without and nemo.jsonl.gz with stored features of the same 12 cuts."""
    folder = tmp_path_factory.mktemp("nemo")
    cuts = write_cuts(folder / "wav", 12)
    cuts.to_file(folder / "raw.jsonl.gz")
    cuts.compute_and_store_features(
        NemoMel(NemoMelConfig(128)), folder / "nemo", num_jobs=1, progress_bar=False
    ).to_file(folder / "nemo.jsonl.gz")
    return folder


def utterances(loader):
    return {
        name: row[:frames]
        for batch in loader
        for name, row, frames in zip(
            batch["supervisions"]["cut_id"], batch["inputs"], batch["supervisions"]["num_frames"].tolist()
        )
    }


@pytest.mark.parametrize("kind, tolerance", [("raw", 0.0), ("nemo", 0.2)])
def test_batches_hold_the_features_of_the_frontend(folder, kind, tolerance):
    """lhotse counts a frame more than NeMo for 6 of the 12 cuts: they are stored with a copy of their last frame."""
    cuts = CutSet.from_file(folder / "raw.jsonl.gz").to_eager()
    assert sum(cut.num_samples % 160 >= 80 for cut in cuts) == 6
    trained = utterances(train_loader(folder / f"{kind}.jsonl.gz", CONFIG, spec=SPEC))
    evaluated = utterances(eval_loader(folder / f"{kind}.jsonl.gz", CONFIG, spec=SPEC))
    assert set(trained) == set(cuts.ids) == set(evaluated)
    for cut in cuts:
        expected = SPEC.compute(cut.load_audio()[0])
        assert trained[cut.id].shape == expected.shape == (cut.num_samples // 160, 128)
        assert torch.equal(trained[cut.id], evaluated[cut.id])  # other batches
        assert (trained[cut.id] - expected).abs().max() <= tolerance  # lilcom's steps, in bins that vary little
        assert (trained[cut.id] - expected).abs().mean() < 0.02


def test_long_utterances_keep_the_frames_of_the_frontend(folder):
    for kind in ("raw", "nemo"):
        batches = list(EvaluationData(folder / f"{kind}.jsonl.gz", CONFIG, MODEL, longest=0.0))
        recordings = {batch.ids[0]: batch.long.recording for batch in batches}
        for cut in CutSet.from_file(folder / "raw.jsonl.gz"):
            assert len(recordings[cut.id]) == (cut.num_samples if kind == "raw" else cut.num_samples // 160)


def test_stored_features_of_another_kind_or_window_are_refused(folder):
    stored = folder / "nemo.jsonl.gz"
    for spec, message in (
        (FeatureSpec(), "stored features of type hainan-nemo, 128 bins; this encoder expects hainan-fbank, 80 bins"),
        (FeatureSpec("nemo"), "this encoder expects hainan-nemo, 80 bins"),
        (replace(SPEC, window="hamming"), "those with a hamming window and pre-emphasis 0.97, .* are never stored"),
        (replace(SPEC, preemphasis=0.9), "those with a hann window and pre-emphasis 0.9, .* are never stored"),
    ):
        with pytest.raises(ValueError, match=message):
            summarise_cuts(stored, CONFIG, spec=spec)
    assert summarise_cuts(stored, CONFIG, spec=replace(SPEC, per_feature=False)).kept == 12
    assert summarise_cuts(folder / "raw.jsonl.gz", CONFIG, spec=replace(SPEC, window="hamming")).kept == 12


def test_without_normalisation_a_batch_has_the_energies(folder):
    spec = replace(SPEC, per_feature=False, window="hamming")
    batch = utterances(eval_loader(folder / "raw.jsonl.gz", CONFIG, spec=spec))
    for cut in CutSet.from_file(folder / "raw.jsonl.gz"):
        samples = torch.from_numpy(cut.load_audio()[0])
        assert torch.equal(batch[cut.id], nemo_mel(samples, 128, "hamming"))
        assert torch.equal(FeatureSpec("nemo", 128, "hamming").compute(samples), normalise_per_feature(batch[cut.id]))


def test_features_mix_as_signals_add_up():
    def extract(samples: np.ndarray) -> np.ndarray:
        return NemoMel().extract(samples.astype(np.float32), 16000)

    speech, noise = babble(16000, seed=7), babble(16000, seed=8)[::-1].copy()
    mixed, together = NemoMel.mix(extract(speech), extract(noise), 0.25), extract(speech + 0.5 * noise)
    assert np.abs(mixed - together).mean() < 0.4
    energy, energy_of_double = (NemoMel.compute_energy(extract(x)) for x in (speech, 2 * speech))
    assert energy_of_double == pytest.approx(4 * energy, rel=1e-3)
