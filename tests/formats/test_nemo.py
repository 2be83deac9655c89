"""A tiny FastConformer-TDT with NeMo's weights gives NeMo's outputs."""

import json
import pathlib

import numpy as np
import pytest
import torch

from hainan_k2 import METHODS, Hainan, ModelConfig, SearchConfig, tdt_loss
from hainan_k2.files.tensors import Stored
from hainan_k2.formats.nemo_config import model_config
from hainan_k2.formats.nemo_weights import our_weights
from hainan_k2.formats.weights import model_of_weights
from tests.formats.random_nemo import lstm, nemo_yaml, published_form

VECTORS = pathlib.Path(__file__).parent.parent / "data" / "nemo_fastconformer_tiny.npz"


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(VECTORS))


def parts(golden):
    config = json.loads(golden["config"].tobytes())
    return config, {k[len("weights/") :]: v for k, v in golden.items() if k.startswith("weights/")}


def model_of(config, weights):
    """The imported model of a model_config.yaml and arrays by NeMo's names."""
    ours = model_config(config, "model_config.yaml")
    stored = {n: Stored(a.shape, torch.float32, lambda a=a: torch.from_numpy(np.array(a))) for n, a in weights.items()}
    for name in stored:
        if name.endswith("num_batches_tracked"):
            stored[name] = Stored((), torch.int64, lambda: torch.tensor(0))
    model = model_of_weights(ours, our_weights(stored, ours), pathlib.Path("x.nemo"), "its configuration", False)
    return model.eval()


@pytest.fixture(scope="module")
def model(golden):
    c, weights = parts(golden)
    options = {"n_layers": c["layers"], "n_heads": c["heads"], "conv_kernel_size": c["conv_kernel"]}
    options.update(subsampling_conv_channels=c["subsampling_channels"], xscaling=c["xscaling"])
    predictor = lstm(c["pred_hidden"], c["pred_layers"])
    config = nemo_yaml(c["vocab"], c["d_model"], c["mel"], True, predictor, c["durations"], **options)
    return model_of(config, weights)


@pytest.fixture(scope="module")
def encoded(golden, model):
    features = torch.from_numpy(golden["in/features"]).transpose(1, 2)
    with torch.no_grad():
        return model.encoder(features, torch.from_numpy(golden["in/feature_lens"]))


def close(ours, theirs, atol=1e-4):
    torch.testing.assert_close(ours, torch.from_numpy(np.ascontiguousarray(theirs)), atol=atol, rtol=0)


def blank_last(logits, blank):
    """Our blank-first logits in the order of the vectors."""
    return torch.cat([logits[..., 1 : blank + 1], logits[..., :1], logits[..., blank + 1 :]], dim=-1)


def test_encoder(golden, encoded):
    out, lens = encoded
    assert lens.tolist() == golden["out/encoder_lens"].tolist()
    theirs = golden["out/encoder"].transpose(0, 2, 1)
    for b, n in enumerate(lens):
        close(out[b, :n], theirs[b, :n])


def test_predictor_and_joint(golden, model, encoded):
    blank = parts(golden)[0]["blank"]
    labels = torch.from_numpy(golden["in/labels"]).long() + 1
    lens = torch.from_numpy(golden["in/label_lens"])
    with torch.no_grad():
        predicted = model.predictor(labels)
        enc = model.joiner.project_encoder(encoded[0])[:, :, None]
        joint = model.joiner.logits(enc, model.joiner.project_predictor(predicted)[:, None])
        nar = model.joiner.logits(enc)
    for b, (t, u) in enumerate(zip(encoded[1], lens)):
        close(predicted[b, : u + 1], golden["out/predictor"].transpose(0, 2, 1)[b, : u + 1])
        close(blank_last(joint[b, :t, : u + 1], blank), golden["out/joint"][b, :t, : u + 1])
        theirs = golden["out/joint_without_predictor"]
        close(blank_last(nar[b, :t], blank).reshape(theirs[b][:t].shape), theirs[b][:t])


@pytest.mark.parametrize("backend", ["k2", "torch"])
def test_tdt_loss(golden, model, encoded, backend):
    if backend == "k2":
        pytest.importorskip("k2")
    labels = torch.from_numpy(golden["in/labels"]).long() + 1
    lens = torch.from_numpy(golden["in/label_lens"]).long()
    with torch.no_grad():
        pred = model.joiner.project_predictor(model.predictor(labels))[:, None]
        logits = model.joiner.logits(model.joiner.project_encoder(encoded[0])[:, :, None], pred)
        nll = tdt_loss(logits, labels, encoded[1], lens, model.durations, reduction="none", backend=backend)
    close(nll, golden["out/tdt_nll"].astype(np.float32))


def test_greedy_search(golden, model, encoded):
    hypotheses = METHODS["ar-greedy"].function(model, *encoded, SearchConfig(max_symbols=10))
    for i, hypothesis in enumerate(hypotheses):
        tokens, frames, durations = (golden[f"out/greedy_{name}_{i}"] for name in ("tokens", "frames", "durations"))
        assert list(hypothesis.ids) == (tokens + 1).tolist()
        assert [t.frame for t in hypothesis.tokens] == frames.tolist()
        assert [t.duration for t in hypothesis.tokens] == durations.tolist()
        assert len(tokens) > 0


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_mel_bins": 128, "xscaling": True},
        {"num_layers": 3, "conv_kernel": 5},
        {"predictor_layers": 2, "joiner_activation": "tanh"},
        {"durations": (1, 2, 3, 4, 5, 6, 7, 8), "ctc": True},
        {"durations": (0, 1, 2, 4, 8), "bias": False},
        {"ffn_factor": 2, "attention_context": (-1, 3)},
        {"predictor": "concat", "predictor_context": 3, "predictor_norm": True},
        {"objective": "rnnt", "durations": (0,), "predictor": "concat", "predictor_context": 1},
    ],
)
def test_any_published_shape_maps_one_to_one(changes):
    torch.manual_seed(3)
    ours = Hainan(ModelConfig.preset("tiny", vocab_size=11, **{"ctc": False, **changes})).eval()
    loaded = model_of(*published_form(ours))
    features, lens = torch.randn(2, 50, ours.config.num_mel_bins), torch.tensor([50, 33])
    labels = torch.tensor([[3, 10, 1], [5, 1, 1]])
    with torch.no_grad():  # the same weights and shapes: equal to the last bit
        encoded, theirs = ours.encoder(features, lens), loaded.encoder(features, lens)
        assert all(torch.equal(a, b) for a, b in zip(encoded, theirs))
        enc, pred = torch.randn(4, ours.config.joiner_dim), ours.predictor(labels)
        assert torch.equal(pred, loaded.predictor(labels))
        assert torch.equal(ours.joiner.logits(enc), loaded.joiner.logits(enc))
        if ours.ctc is not None:
            assert torch.equal(ours.ctc_log_probs(encoded[0]), loaded.ctc_log_probs(encoded[0]))
    assert loaded.durations == ours.durations and loaded.config.objective == ours.config.objective


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c, w: w.pop("joint.enc.bias"), r"x.nemo .* joiner.enc.bias is missing, not \(32,\)"),
        (lambda c, w: w.update({"encoder.extra": np.zeros(1)}), "encoder.extra is not part of the model"),
        (lambda c, w: w.update({"joint.enc.bias": np.zeros(3)}), r"joiner.enc.bias is \(3,\)"),
        (
            lambda c, w: w.update({"joint.enc.bias": np.full(32, np.inf)}),
            "joiner.enc.bias holds numbers that are not fin",
        ),
        (lambda c, w: c["encoder"].pop("n_heads"), "fit its configuration: encoder.layers.0.self_attn"),
        (lambda c, w: c["encoder"].pop("d_model"), "encoder: d_model is None, not a whole number"),
        (lambda c, w: c.pop("target"), "model class None is not supported: EncDecRNNTBPEModel"),
        (lambda c, w: c["encoder"].update(conv_norm_type="layer_norm"), "conv_norm_type 'layer_norm' is not supported"),
        (lambda c, w: c["encoder"].update(causal_downsampling=True), "causal_downsampling True is not supported"),
        (
            lambda c, w: c["encoder"].update(subsampling="striding"),
            "'striding' is not supported: it must be dw_striding",
        ),
        (lambda c, w: c["encoder"].update(att_context_style="chunked_limited"), "'chunked_limited' is not supported"),
        (lambda c, w: c["encoder"].update(conv_context_size="causal"), "conv_context_size 'causal' is not supported"),
        (lambda c, w: c["encoder"].update(self_attention_model="abs_pos"), "it must be rel_pos or rel_pos_local_attn"),
        (
            lambda c, w: c["encoder"].update(self_attention_model="rel_pos_local_attn", att_context_size=[8, 4]),
            "it must be twice the same number",
        ),
        (lambda c, w: c["decoder"].update(normalization_mode="layer"), "'layer' is not supported: it must be null"),
        (lambda c, w: c["decoder"].update(_target_="a.RNNTDecoder2"), "it must be a RNNTDecoder"),
        (lambda c, w: c["joint"].update(num_extra_outputs=4), "durations .* for 4 outputs of the joint"),
        (lambda c, w: c["joint"]["jointnet"].update(activation="gelu"), "it must be relu or tanh or sigmoid"),
        (lambda c, w: c.update(loss={"loss_name": "multiblank_rnnt"}), "multi-blank transducers are not supported"),
        (lambda c, w: c["preprocessor"].update(features=64), "encoder.feat_in is not the number of features, 64"),
        (lambda c, w: c["encoder"].update(n_layers=True), "n_layers is True, not a whole number"),
    ],
)
def test_what_does_not_fit_or_is_not_supported_is_named(change, message):
    ours = Hainan(ModelConfig.preset("tiny", vocab_size=11, ctc=False, num_heads=2)).eval()
    config, weights = published_form(ours)
    change(config, weights)
    with pytest.raises(ValueError, match=message) as error:
        model_of(config, weights)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("prob, masked", [(0.5, True), (-1.0, False), (None, False)])
def test_a_model_trained_with_a_masked_predictor(prob, masked):
    config, _ = published_form(Hainan(ModelConfig.preset("tiny", vocab_size=11, ctc=False)))
    if prob is not None:
        config["joint"]["masking_prob"] = prob
    assert model_config(config, "x").predictor_masking is masked


def test_of_several_attention_contexts_the_first_is_taken():
    config, _ = published_form(Hainan(ModelConfig.preset("tiny", vocab_size=11, ctc=False)))
    config["encoder"]["att_context_size"] = [[70, 13], [70, 6]]
    assert model_config(config, "x").attention_context == (70, 13)
