"""Attention, plain and over a limited context, against a sum over the keys of each query, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.config import ModelConfig
from hainan_k2.model import attention
from hainan_k2.model.attention import RelPositionAttention, dot_product_attention, relative_positions
from hainan_k2.model.hainan import Hainan

CHANNELS, HEADS = 8, 2


def reference(module, x, length, context):
    """Frames (T, C) of one utterance of `length` frames, one query and one head at a time."""
    size = CHANNELS // HEADS
    inverse = [10000.0 ** (-i / CHANNELS) for i in range(0, CHANNELS, 2)]
    rows = []
    for q in range(length):
        first = 0 if context[0] < 0 else max(0, q - context[0])
        last = length - 1 if context[1] < 0 else min(length - 1, q + context[1])
        heads = []
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            query = module.linear_q(x[q])[part]
            scores = []
            for k in range(first, last + 1):
                angles = torch.tensor([(q - k) * rate for rate in inverse], dtype=torch.float64)
                position = module.linear_pos(torch.stack([angles.sin(), angles.cos()], 1).flatten())[part]
                content = (query + module.pos_bias_u[h]) @ module.linear_k(x[k])[part]
                scores.append((content + (query + module.pos_bias_v[h]) @ position) / math.sqrt(size))
            weights = torch.stack(scores).softmax(0)
            heads.append(sum(w * module.linear_v(x[k])[part] for w, k in zip(weights, range(first, last + 1))))
        rows.append(module.linear_out(torch.cat(heads)))
    return torch.stack(rows)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 11), min_size=1, max_size=3),
    st.tuples(st.integers(-1, 5), st.integers(-1, 5)),
    st.integers(0, 10**6),
)
def test_every_context(lens, context, seed):
    torch.manual_seed(seed)
    module = RelPositionAttention(CHANNELS, HEADS, 0.0, context=context).double().eval()
    for bias in (module.pos_bias_u, module.pos_bias_v):
        torch.nn.init.normal_(bias)
    lens = torch.tensor(lens)
    x = torch.randn(len(lens), int(lens.max()), CHANNELS, dtype=torch.float64)
    padding = torch.arange(x.shape[1]) >= lens[:, None]
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "BLOCK", 4)
        out = module(x, relative_positions(x.shape[1], CHANNELS, x, context), padding)
        for b, length in enumerate(lens.tolist()):
            # the sinusoids are computed in float32
            torch.testing.assert_close(out[b, :length], reference(module, x[b], length, context), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("context", [(3, 3), (6, 0), (-1, 2)])
def test_an_encoder_with_limited_context_does_not_depend_on_the_batch(context, monkeypatch):
    monkeypatch.setattr(attention, "BLOCK", 5)
    torch.manual_seed(0)
    model = Hainan(ModelConfig.preset("tiny", vocab_size=12, attention_context=context)).eval()
    features, lens = torch.randn(2, 160, 80), torch.tensor([160, 90])
    with torch.no_grad():
        out, frames = model.encoder(features, lens)
        alone, _ = model.encoder(features[1:, :90], lens[1:])
    torch.testing.assert_close(out[1, : frames[1]], alone[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("by_torch", [True, False])
@settings(max_examples=30, deadline=None)
@given(lens=st.lists(st.integers(1, 12), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_attention_without_positions(by_torch, lens, seed):
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, len(lens), HEADS, max(lens), 4, generator=generator, dtype=torch.float64)
    padding = torch.arange(max(lens)) >= torch.tensor(lens)[:, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "BLOCK", 5)  # several blocks of queries
        if not by_torch:
            patch.delattr(torch.nn.functional, "scaled_dot_product_attention", raising=False)  # as before torch 2
        ours = dot_product_attention(q, k, v, padding)
    for b, length in enumerate(lens):
        for h in range(HEADS):
            for t in range(max(lens)):
                scores = [float(q[b, h, t] @ k[b, h, s]) / 2 for s in range(length)]
                total = sum(map(math.exp, scores))
                wanted = sum(math.exp(score) / total * v[b, h, s] for s, score in enumerate(scores))
                torch.testing.assert_close(ours[b, h, t], wanted)
