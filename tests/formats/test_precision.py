"""Precisions that torch cannot compute in here are refused; int8 layers are close to the float ones."""

import pytest
import torch
from torch import nn

from hainan_k2.formats.model_dir import RELEASED, read_model
from hainan_k2.formats.precision import check_precision, is_finite, quantised

CPU = torch.device("cpu")


def test_precisions_that_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="no precision 'int4'; there are float32, float16, bfloat16, int8"):
        check_precision("int4", CPU)
    with pytest.raises(ValueError, match="precision int8 is computed on CPUs only, not on cuda:1"):
        check_precision("int8", torch.device("cuda:1"))

    def conv1d(*args):
        raise RuntimeError("not implemented for 'Half'")

    monkeypatch.setattr(nn.functional, "conv1d", conv1d)
    with pytest.raises(ValueError, match="does not compute in float16 on cpu: choose from float32, bfloat16, int8$"):
        read_model(RELEASED, "float16")


def test_int8_layers():
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 32), torch.randn(10, 64)
    with torch.no_grad():
        exact = layer(x)
        close = quantised(layer)(x)
    assert not layer.weight.numel()  # freed
    assert 0 < (close - exact).norm() / exact.norm() < 0.02


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_values_that_are_not_finite(value, dtype):
    values = torch.full((1000,), torch.finfo(dtype).max, dtype=dtype)
    assert is_finite(values) and is_finite(torch.arange(3)) and is_finite(torch.zeros(0))
    values[7] = value
    assert not is_finite(values)
