"""The running average against the mean of the samples, in float64."""

import numpy as np
import pytest
import torch

from hainan_k2.config import ModelConfig
from hainan_k2.formats.average import RunningAverage, average_between
from hainan_k2.formats.checkpoint import load_checkpoint, save_checkpoint
from hainan_k2.model.hainan import Hainan


def walk(model, seed):
    """Change all weights, like an update."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.add_(torch.randn(value.shape, generator=generator) if value.is_floating_point() else 1)


@pytest.mark.parametrize("every", [1, 3])
def test_the_mean_between_any_two_checkpoints_after_saving_and_resuming(tmp_path, every):
    torch.manual_seed(0)
    model = Hainan(ModelConfig.preset("tiny", vocab_size=9))
    average, samples, states = RunningAverage(every), [], {0: None}
    for update in range(1, 31):
        walk(model, update)
        average.update(model, update)
        if update % every == 0:
            samples.append({k: v.clone() for k, v in model.state_dict().items()})
        if update % 10 == 0:
            save_checkpoint(tmp_path / "a.safetensors", average.state())
            states[update] = load_checkpoint(tmp_path / "a.safetensors")
            average = RunningAverage(every)  # the process ends here and another goes on
            average.load(load_checkpoint(tmp_path / "a.safetensors"))
    for start, end in ((0, 10), (0, 30), (10, 20), (20, 30), (10, 30)):
        mean = average_between(states[start], states[end])
        part = samples[start // every : end // every]
        assert set(mean) == set(model.state_dict())
        for name, value in mean.items():
            assert value.dtype == model.state_dict()[name].dtype
            if value.is_floating_point():
                expected = np.mean([s[name].double().numpy() for s in part], axis=0)
                np.testing.assert_allclose(value.numpy(), expected, rtol=3e-7, atol=1e-6)
            else:
                assert value == part[-1][name]


def test_no_sample_in_between_and_no_average_at_all(caplog):
    model = Hainan(ModelConfig.preset("tiny", vocab_size=9))
    average = RunningAverage(2)
    average.update(model, 2)
    with pytest.raises(ValueError, match="1 samples, 1 of them before"):
        average_between(average.state(), average.state())
    later = RunningAverage(2)
    later.load(None)  # of a checkpoint that has none
    assert "none is kept" in caplog.text
    later.update(model, 4)
    assert later.state() == {"every": 0, "count": 0, "mean": {}}
