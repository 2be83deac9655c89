import random

import lhotse
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.data.augment import NoiseMix, SpecAugment, generator, perturb_speed, warp_time
from hainan_k2.data.extractors import Fbank
from tests.data.corpus import write_cuts

MASKS = SpecAugment(time_warp=0, prob=1.0)


def runs(zeros: torch.Tensor) -> list[int]:
    """Lengths of the runs of True."""
    return [len(run) for run in "".join("x" if z else " " for z in zeros.tolist()).split()]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 600), st.integers(0, 10**6))
def test_masks_stay_within_their_limits(frames, seed):
    features = torch.ones(frames, 80)
    masked = MASKS(features, random.Random(seed)) == 0
    frame_runs, bin_runs = runs(masked.all(1)), runs(masked.all(0))
    assert sum(frame_runs) <= 0.15 * frames
    assert len(frame_runs) <= min(10, -(-int(0.15 * frames) // 100))
    assert len(bin_runs) <= 2 and sum(bin_runs) <= 54
    assert torch.equal(masked, masked.all(1)[:, None] | masked.all(0)[None])  # whole spans and bands
    assert features.all()  # the input is left alone


def test_masks_reach_their_limits():
    masked = [MASKS(torch.ones(2000, 80), random.Random(seed)) == 0 for seed in range(100)]
    assert max(max(runs(m.all(0)), default=0) for m in masked) >= 26
    assert max(sum(runs(m.all(1))) for m in masked) > 180
    assert max(len(runs(m.all(1))) for m in masked) == 3  # 300 frames in spans of 100
    positions = torch.stack([m.all(1) for m in masked])
    assert positions[:, :20].any() and positions[:, -20:].any()


def test_probability():
    augment = SpecAugment(prob=0.3)
    features = torch.randn(300, 80)
    changed = sum(not torch.equal(augment(features, random.Random(seed)), features) for seed in range(300))
    assert 60 < changed < 120
    assert torch.equal(SpecAugment(prob=0.0)(features, random.Random(0)), features)


def test_without_any_augmentation_nothing_changes():
    off = SpecAugment(time_warp=0, freq_masks=0, time_masks=0, prob=1.0)
    features = torch.randn(300, 80)
    assert torch.equal(off(features, random.Random(0)), features)
    narrow = SpecAugment(time_warp=0, freq_width=0, time_width=0, prob=1.0)
    assert torch.equal(narrow(features, random.Random(0)), features)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.integers(0, 80), st.integers(0, 10**6))
def test_warped_time_runs_forwards_and_keeps_its_ends(frames, width, seed):
    ramp = torch.arange(frames, dtype=torch.float32)[:, None]
    warped = warp_time(ramp, width, random.Random(seed))
    assert warped.shape == ramp.shape
    assert (warped[1:] >= warped[:-1]).all()
    if frames:
        assert (warped - ramp).abs().max() <= width + 1
        assert warped.min() >= 0 and warped.max() <= frames - 1


def test_time_is_warped_by_up_to_the_width():
    ramp = torch.arange(400, dtype=torch.float32)[:, None]
    shifts = [(warp_time(ramp, 40, random.Random(seed)) - ramp).abs().max().item() for seed in range(100)]
    assert 30 < max(shifts) <= 41 and min(shifts) < 5


def test_warp_agrees_with_numpy_interpolation():
    features = torch.randn(100, 4, dtype=torch.float64)
    rng = random.Random(5)
    warped = warp_time(features, 20, random.Random(5))
    centre = rng.randint(21, 79)
    moved = centre + rng.randint(-20, 20)
    times = np.interp(np.arange(100) + 0.5, [0, moved, 100], [0, centre, 100]) - 0.5
    expected = np.stack([np.interp(times, np.arange(100), column) for column in features.numpy().T], axis=1)
    np.testing.assert_allclose(warped.numpy(), expected, atol=1e-9)


def test_choices_depend_on_seed_epoch_and_cut_only():
    features = torch.randn(500, 80)
    augment = SpecAugment(prob=1.0)

    def augmented(*key):
        return augment(features, generator(*key))

    torch.manual_seed(1)
    random.seed(1)
    first = augmented(1, 2, "utt")
    torch.manual_seed(2)
    random.seed(2)
    assert torch.equal(augmented(1, 2, "utt"), first)
    for other in [(0, 2, "utt"), (1, 3, "utt"), (1, 2, "utu")]:
        assert not torch.equal(augmented(*other), first)


@pytest.mark.parametrize("options", [{"time_warp": -1}, {"freq_masks": -2}, {"prob": 1.5}, {"time_fraction": -0.1}])
def test_impossible_numbers(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SpecAugment(**options)


def test_speed_perturbation_scales_times_and_keeps_texts(tmp_path):
    cuts = write_cuts(tmp_path, 3)
    perturbed = {cut.id: cut for cut in perturb_speed(cuts)}
    assert len(perturbed) == 9
    for cut in cuts:
        for factor in (0.9, 1.1):
            other = perturbed[f"{cut.id}_sp{factor}"]
            assert other.duration == pytest.approx(cut.duration / factor, abs=1e-4)
            assert other.supervisions[0].text == cut.supervisions[0].text
            assert other.load_audio().shape[1] == round(other.duration * 16000)


@pytest.mark.parametrize("factor", [0.9, 1.1, 0.95])
def test_perturbed_cuts_have_the_frames_of_their_manifests(tmp_path, factor):
    cuts = write_cuts(tmp_path / "wav", 20).perturb_speed(factor)
    stored = cuts.compute_and_store_features(Fbank(), tmp_path / "feats", num_jobs=1, progress_bar=False)
    for cut, with_features in zip(cuts, stored):
        frames = Fbank().extract(cut.load_audio()[0], 16000).shape[0]
        assert frames == lhotse.utils.compute_num_frames(cut.duration, 0.01, 16000)
        assert frames == with_features.num_frames == with_features.load_features().shape[0]


def test_noise_has_the_requested_level_and_cuts_keep_their_ids(tmp_path):
    speech, noise = write_cuts(tmp_path / "speech", 8), write_cuts(tmp_path / "noise", 3)
    noisy = NoiseMix(noise, snr=(5.0, 5.0), prob=1.0)(speech, random.Random(0))
    assert list(noisy.ids) == list(speech.ids)
    for clean, mixed in zip(speech, noisy):
        assert mixed.duration == clean.duration and len(mixed.supervisions) == 1
        signal, both = clean.load_audio()[0], mixed.load_audio()[0]
        ratio = 10 * np.log10(np.sum(signal**2) / np.sum((both - signal) ** 2))
        assert ratio == pytest.approx(5.0, abs=3.0)  # it is measured on whole noise clips


def test_noise_probability_and_repeatability(tmp_path):
    speech, noise = write_cuts(tmp_path / "speech", 30), write_cuts(tmp_path / "noise", 3)
    mix = NoiseMix(noise, prob=0.5)
    first, again = mix(speech, generator(1, 1, "x")), mix(speech, generator(1, 1, "x"))
    mixed = sum(isinstance(cut, lhotse.cut.MixedCut) for cut in first)
    assert 5 < mixed < 25
    for a, b in zip(first, again):
        assert np.array_equal(a.load_audio(), b.load_audio())


@pytest.mark.parametrize("options", [{"prob": 2}, {"snr": (20, 10)}, {"snr": (1,)}])
def test_impossible_noise(tmp_path, options):
    with pytest.raises(ValueError, match="noise prob"):
        NoiseMix(write_cuts(tmp_path, 1), **options)


def test_noise_of_two_channels(tmp_path):
    soundfile.write(tmp_path / "wide.wav", np.zeros((1600, 2)), 16000)
    with pytest.raises(ValueError, match="noise cut .* has 2 channels"):
        NoiseMix(lhotse.CutSet.from_cuts([lhotse.Recording.from_file(tmp_path / "wide.wav").to_cut()]))


def test_no_noise_cuts():
    with pytest.raises(ValueError, match="empty"):
        NoiseMix(lhotse.CutSet.from_cuts([]))
