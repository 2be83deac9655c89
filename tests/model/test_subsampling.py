"""The subsampling convolutions before training: the output varies over time as much as it is offset."""

import pytest
import torch

from hainan_k2.model.subsampling import DepthwiseStriding


@pytest.mark.parametrize("channels, d_model", [(16, 64), (48, 144), (256, 256)])
def test_the_signal_is_not_drowned_by_a_constant(channels, d_model):
    torch.manual_seed(0)
    out, lens = DepthwiseStriding(80, channels, d_model)(torch.randn(2, 800, 80), torch.tensor([800, 640]))
    for frames, length in zip(out, lens):
        assert frames[:length].std(0).square().mean().sqrt() > 0.4 * frames[:length].mean(0).square().mean().sqrt()
