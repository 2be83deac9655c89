"""MaskedBatchNorm equals nn.BatchNorm1d without padding, and padding does not change it."""

import pytest
import torch
from torch import nn

from hainan_k2.config import ModelConfig
from hainan_k2.model.hainan import Hainan
from hainan_k2.model.norm import MaskedBatchNorm

NOTHING = torch.zeros(3, 11, dtype=torch.bool)


def pair(**options):
    torch.manual_seed(0)
    plain, masked = nn.BatchNorm1d(7, **options).double(), MaskedBatchNorm(7, **options).double()
    nn.init.normal_(plain.weight)
    nn.init.normal_(plain.bias)
    masked.load_state_dict(plain.state_dict())
    return plain, masked


@pytest.mark.parametrize("momentum", [0.1, None])
def test_without_padding_it_is_batch_norm(momentum):
    plain, masked = pair(momentum=momentum)
    for scale in (1.0, 3.0, 0.2):
        x = (5 + scale * torch.randn(3, 7, 11, dtype=torch.float64)).requires_grad_()
        y = x.detach().clone().requires_grad_()
        weights = torch.randn(3, 7, 11, dtype=torch.float64)
        ours, theirs = masked(y, NOTHING), plain(x)
        torch.testing.assert_close(ours, theirs)
        (ours * weights).sum().backward()
        (theirs * weights).sum().backward()
        torch.testing.assert_close(y.grad, x.grad)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(masked.state_dict()[name], value)
    torch.testing.assert_close(masked.weight.grad, plain.weight.grad)
    masked.load_state_dict(plain.state_dict())
    assert torch.equal(masked.eval()(x, NOTHING), plain.eval()(x))


def test_frames_count_and_padding_does_not():
    plain, masked = pair()
    x, lens = torch.randn(3, 7, 11, dtype=torch.float64), (11, 4, 1)
    padding = torch.arange(11) >= torch.tensor(lens)[:, None]
    frames = torch.cat([x[b, :, :n] for b, n in enumerate(lens)], 1)
    expected = plain(frames[None])[0]
    x = x.masked_fill(padding[:, None], float("nan")).requires_grad_()
    out = masked(x, padding)
    torch.testing.assert_close(torch.cat([out[b, :, :n] for b, n in enumerate(lens)], 1), expected)
    torch.testing.assert_close(masked.running_mean, plain.running_mean)
    torch.testing.assert_close(masked.running_var, plain.running_var)
    out.square().sum().backward()
    assert torch.isfinite(out).all() and not x.grad[padding[:, None].expand_as(x)].any()


def test_one_frame_in_all_is_no_error():
    _, masked = pair()
    out = masked(torch.randn(1, 7, 3, dtype=torch.float64), torch.tensor([[False, True, True]]))
    torch.testing.assert_close(out[0, :, 0], masked.bias)
    assert all(torch.isfinite(v).all() for v in masked.state_dict().values())


@pytest.mark.parametrize("encoder", ["fastconformer", "whisper"])
def test_statistics_of_an_utterance_padded_fourfold(encoder):
    torch.manual_seed(0)
    config = ModelConfig.preset(
        "tiny", vocab_size=12, encoder=encoder, whisper_dim=32, whisper_layers=1, whisper_heads=2, dropout=0.0
    )
    model = Hainan(config).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    features = torch.randn(1, 160, 80)
    statistics = []
    for padded in (features, torch.nn.functional.pad(features, (0, 0, 0, 480))):
        model.load_state_dict(before)
        model.encoder(padded, torch.tensor([160]))
        statistics.append({name: value.clone() for name, value in model.state_dict().items() if "running" in name})
    assert statistics[0]
    for name, value in statistics[0].items():
        assert not torch.equal(value, before[name])
        torch.testing.assert_close(statistics[1][name], value, atol=1e-6, rtol=1e-6)


def test_bfloat16_comes_out_as_it_went_in():
    masked = MaskedBatchNorm(7)
    x = 100 + torch.randn(3, 7, 11)
    out = masked(x.bfloat16(), NOTHING)
    assert out.dtype == torch.bfloat16 and masked.running_mean.dtype == torch.float32
    torch.testing.assert_close(masked.running_mean, 0.1 * x.bfloat16().float().mean((0, 2)))
