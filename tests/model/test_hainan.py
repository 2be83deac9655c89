"""The model: predictor masking, the NAR joint, padding, step-wise predictors, published sizes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.config import PRESETS, ModelConfig
from hainan_k2.frames import subsampled_length
from hainan_k2.model.attention import shift_to_relative
from hainan_k2.model.hainan import Hainan
from hainan_k2.model.joiner import mask_predictor


def tiny(**changes):
    torch.manual_seed(0)
    return Hainan(ModelConfig.preset("tiny", vocab_size=12, **changes)).eval()


def randomise_norms(model):
    """Batch norms with statistics that are not 0 and 1, as after training."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            module.bias.data.normal_()
    return model


@settings(max_examples=25, deadline=None)
@given(lens=st.lists(st.integers(1, 70), min_size=1, max_size=4), extra=st.integers(0, 40), seed=st.integers(0, 99))
def test_encoder_ignores_padding_and_other_utterances(lens, extra, seed):
    model = randomise_norms(tiny())
    torch.manual_seed(seed)
    batch = torch.randn(len(lens), max(lens) + extra, 80)
    out, out_lens = model.encoder(batch, torch.tensor(lens))
    assert out_lens.tolist() == [subsampled_length(n) for n in lens] == [-(-n // 8) for n in lens]
    for b, n in enumerate(lens):
        alone, _ = model.encoder(batch[b : b + 1, :n], torch.tensor([n]))
        torch.testing.assert_close(out[b, : out_lens[b]], alone[0], atol=2e-5, rtol=1e-4)


def test_the_norm_at_the_end_of_a_layer_can_be_left_out():
    """With it the encoder's output is normalised; without it, its scale depends on the features."""
    features, lens = 3 * torch.randn(1, 80, 80), torch.tensor([80])
    for norm_out in (True, False):
        model = tiny(norm_out=norm_out)
        names = {name for name, _ in model.named_parameters() if "norm_out" in name}
        assert len(names) == (4 if norm_out else 0)
        deviation = model.encoder(features, lens)[0].std(2)
        assert bool((deviation - 1 < 0.01).all() and (deviation > 0.99).all()) == norm_out


@pytest.mark.parametrize("lens", [[0, 5], [5, 9]])
def test_encoder_refuses_lengths_outside_the_batch(lens):
    with pytest.raises(ValueError, match=r"\[1, 8\]"):
        tiny().encoder(torch.zeros(2, 8, 80), torch.tensor(lens))


def test_shift_to_relative_reads_offset_of_query_and_key():
    time = 5
    offsets = torch.arange(time - 1, -time, -1.0).expand(2, 3, time, 2 * time - 1)
    query, key = torch.arange(time)[:, None], torch.arange(time)
    assert (shift_to_relative(offsets) == (query - key).float()).all()


@pytest.mark.parametrize("time", [1, 2, 3, 7])
def test_shift_to_relative_in_an_onnx_export_is_the_same(time, monkeypatch):
    scores = torch.randn(2, 3, time, 2 * time - 1)
    expected = shift_to_relative(scores)
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    assert torch.equal(shift_to_relative(scores), expected)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"predictor_layers": 2},
        {"predictor": "stateless"},
        {"predictor": "stateless", "predictor_context": 1},
        {"predictor": "concat", "predictor_context": 3},
        {"predictor": "concat", "predictor_context": 1, "predictor_norm": True},
    ],
)
def test_predictor_steps_equal_its_parallel_form(changes):
    model = tiny(**changes)
    labels = torch.randint(1, 12, (3, 6))
    parallel = model.predictor(labels)
    state = model.predictor.initial_state(3)
    for u, tokens in enumerate([torch.zeros(3, dtype=torch.int64), *labels.T]):
        out, state = model.predictor.step(tokens, state)
        torch.testing.assert_close(out, parallel[:, u], atol=1e-6, rtol=1e-5)
        assert all(s.shape[0] == 3 for s in state)


def test_sos_is_a_zero_vector():
    for kind in ("lstm", "stateless"):
        assert not tiny(predictor=kind).predictor.embed.weight[0].any()


def test_nar_joint_has_no_predictor_term():
    model = tiny()
    enc = torch.randn(2, 7, model.config.joiner_dim)
    expected = model.joiner.out(enc.relu())
    assert torch.equal(model.joiner.logits(enc), expected)  # the same products of the same shapes
    fed_zero = model.joiner.logits(enc, model.joiner.project_predictor(torch.zeros(2, 1, model.config.predictor_dim)))
    assert not torch.allclose(fed_zero, expected)  # the projection's bias: the mistake to avoid


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
def test_activations_of_the_joint(name):
    joiner = tiny(joiner_activation=name).joiner
    enc, pred = torch.randn(2, 4, 32), torch.randn(2, 1, 32)
    expected = joiner.out(getattr(torch, name)(enc + pred))
    torch.testing.assert_close(joiner.logits(enc, pred), expected)
    torch.testing.assert_close(joiner.logits(enc), joiner.out(getattr(torch, name)(enc)))


def test_an_rnnt_is_a_tdt_with_the_only_duration_0():
    model = tiny(objective="rnnt", durations=(0,))
    enc, pred = torch.randn(2, 4, 32), torch.randn(2, 1, 32)
    tokens, durations = model.joiner.log_probs(enc, pred)
    assert model.joiner.out.weight.shape == (12, 32) and not durations.any() and durations.shape == (2, 4, 1)
    torch.testing.assert_close(tokens, model.joiner.out((enc + pred).relu()).log_softmax(-1))


def test_a_ctc_model_has_nothing_but_its_head():
    parts = {name.split(".")[0] for name in tiny(objective="ctc", durations=(0,)).state_dict()}
    assert parts == {"encoder", "ctc"}


def test_log_probs_are_two_separate_softmaxes():
    model = tiny(durations=(0, 1, 4))
    tokens, durations = model.joiner.log_probs(torch.randn(2, 5, model.config.joiner_dim))
    assert tokens.shape == (2, 5, 12) and durations.shape == (2, 5, 3)
    for part in (tokens, durations):
        torch.testing.assert_close(part.exp().sum(-1), torch.ones(2, 5))


def test_mask_is_per_utterance_and_label_position_and_not_rescaled():
    torch.manual_seed(1)
    projected = torch.rand(40, 50, 8) + 1.0
    masked = mask_predictor(projected, 0.3)
    zeroed = (masked == 0).all(-1)
    assert torch.equal(masked[~zeroed], projected[~zeroed])
    assert 0.25 < zeroed.float().mean() < 0.35
    assert 0.1 < zeroed[:, 0].float().mean() < 0.5  # SOS like any other
    rows, columns = zeroed.float().mean(1), zeroed.float().mean(0)
    assert rows.std() < 0.12 and columns.std() < 0.12 and zeroed[0].any() and not zeroed[0].all()


@pytest.mark.parametrize("probability, kept", [(0.0, True), (1.0, False)])
def test_mask_extremes(probability, kept):
    projected = torch.rand(2, 3, 4) + 1.0
    assert torch.equal(mask_predictor(projected, probability), projected * kept)


def test_a_masked_position_is_the_nar_joint():
    model = tiny()
    enc = torch.randn(2, 7, 1, model.config.joiner_dim)
    pred = model.joiner.project_predictor(model.predictor(torch.randint(1, 12, (2, 3))))[:, None]
    masked = model.joiner.logits(enc, mask_predictor(pred[:, 0], 1.0)[:, None])
    # matrix products of other shapes sum in another order: equal up to float32 rounding
    torch.testing.assert_close(masked, model.joiner.logits(enc).expand(-1, -1, 4, -1), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name, millions", [("S", 14), ("M", 32), ("L", 115), ("XL", 615)])
def test_presets_have_the_published_sizes(name, millions, monkeypatch):
    for kind in (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.LSTM, torch.nn.Embedding):
        monkeypatch.setattr(kind, "reset_parameters", lambda self: None)  # sizes only: skip the random numbers
    model = Hainan(ModelConfig.preset(name, vocab_size=1025, ctc=False))
    training_only = sum(p.numel() for m in (model.simple_am, model.simple_lm) for p in m.parameters())
    size = (sum(p.numel() for p in model.parameters()) - training_only) / 1e6
    assert abs(size - millions) / millions < 0.06, size


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"durations": (0,)}, "durations"),
        ({"durations": (1, 1)}, "durations"),
        ({"durations": (2, 1)}, "durations"),
        ({"durations": (-1, 1)}, "durations"),
        ({"predictor": "gru"}, "gru"),
        ({"conv_kernel": 4}, "conv_kernel"),
        ({"num_heads": 5}, "num_heads"),
        ({"predictor": "stateless", "predictor_context": 0}, "predictor_context"),
        ({"predictor": "concat", "predictor_context": 20}, "too few channels for 20 labels"),
        ({"objective": "rnnt"}, "objective rnnt predicts none"),
        ({"objective": "ctc", "durations": (0,), "ctc": False}, "nothing but its CTC head"),
        ({"attention_context": (4,)}, "attention_context"),
        ({"attention_context": (-2, 4)}, "attention_context"),
    ],
)
def test_impossible_configurations_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny(**changes)


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(ValueError, match=", ".join(PRESETS)):
        ModelConfig.preset("huge", vocab_size=5)
