"""A tiny FastConformer-TDT with NeMo's weights gives NeMo's outputs."""

import json
import pathlib
import tarfile

import numpy as np
import pytest
import torch

from hainan_k2 import METHODS, Hainan, ModelConfig, SearchConfig, tdt_loss
from hainan_k2.formats.nemo import model_from_arrays, read_weights

VECTORS = pathlib.Path(__file__).parent.parent / "data" / "nemo_fastconformer_tiny.npz"


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(VECTORS))


def parts(golden):
    config = json.loads(golden["config"].tobytes())
    return config, {k[len("weights/") :]: v for k, v in golden.items() if k.startswith("weights/")}


@pytest.fixture(scope="module")
def model(golden):
    return model_from_arrays(*parts(golden))


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
    "change, message",
    [
        (lambda c, w: w.pop("joint.enc.bias"), "joiner.enc.bias is missing"),
        (lambda c, w: w.update({"encoder.extra": np.zeros(1)}), "encoder.extra is not part"),
        (lambda c, w: w.update({"joint.enc.bias": np.zeros(3)}), "joiner.enc.bias is"),
        (lambda c, w: c.pop("heads"), "config lacks heads"),
    ],
)
def test_weights_that_do_not_fit_are_named(golden, change, message):
    config, weights = parts(golden)
    change(config, weights)
    with pytest.raises(ValueError, match=message):
        model_from_arrays(config, weights)


def published_form(model):
    """A model of ours as (config, weights) under the published names, blank last."""

    def name(ours):
        for a, b in (
            ("predictor.lstm.", "decoder.prediction.dec_rnn.lstm."),
            ("joiner.out.", "joint.joint_net.2."),
            ("predictor.embed.", "decoder.prediction.embed."),
            ("joiner.", "joint."),
        ):
            if ours.startswith(a):
                return b + ours[len(a) :]
        return ours

    c, blank = model.config, model.config.vocab_size - 1
    config = {
        "vocab": blank,
        "blank": blank,
        "d_model": c.d_model,
        "heads": c.num_heads,
        "layers": c.num_layers,
        "mel": c.num_mel_bins,
        "subsampling_channels": c.subsampling_channels,
        "conv_kernel": c.conv_kernel,
        "xscaling": c.xscaling,
        "pred_hidden": c.predictor_dim,
        "pred_layers": c.predictor_layers,
        "joint_hidden": c.joiner_dim,
        "durations": list(c.durations),
    }
    weights = {}
    for ours, value in model.state_dict().items():
        if not ours.startswith("simple_"):
            last = ours in ("predictor.embed.weight", "joiner.out.weight", "joiner.out.bias")
            order = [*range(1, blank + 1), 0, *range(blank + 1, len(value))] if last else slice(None)
            weights[name(ours)] = value[order].numpy() if value.ndim else value.numpy()
    return config, weights


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_mel_bins": 128, "xscaling": True},
        {"num_layers": 3, "conv_kernel": 5},
        {"predictor_layers": 2},
        {"durations": (1, 2, 3, 4, 5, 6, 7, 8)},
        {"durations": (0, 1, 2, 4, 8), "bias": False},
        {"ffn_factor": 2},
    ],
)
def test_any_published_shape_maps_one_to_one(changes):
    torch.manual_seed(3)
    ours = Hainan(ModelConfig.preset("tiny", vocab_size=11, ctc=False, **changes)).eval()
    loaded = model_from_arrays(*published_form(ours))
    features, lens = torch.randn(2, 50, ours.config.num_mel_bins), torch.tensor([50, 33])
    labels = torch.tensor([[3, 10, 1], [5, 1, 1]])
    with torch.no_grad():  # the same weights and shapes: equal to the last bit
        for a, b in zip(ours.encoder(features, lens), loaded.encoder(features, lens)):
            assert torch.equal(a, b)
        enc, pred = torch.randn(4, ours.config.joiner_dim), ours.predictor(labels)
        assert torch.equal(pred, loaded.predictor(labels))
        assert torch.equal(ours.joiner.logits(enc), loaded.joiner.logits(enc))
    assert loaded.durations == ours.durations and not loaded.training


def test_weights_of_an_archive(tmp_path):
    """An archive like NeMo's: an uncompressed tar of model_config.yaml and of a state_dict written by torch.save."""
    torch.manual_seed(3)
    ours = Hainan(ModelConfig.preset("tiny", vocab_size=11, ctc=False)).eval()
    config, weights = published_form(ours)
    torch.save(
        {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}, tmp_path / "model_weights.ckpt"
    )
    (tmp_path / "model_config.yaml").write_text("sample_rate: 16000\n")
    with tarfile.open(tmp_path / "a.nemo", "w:") as archive:
        for name in ("model_config.yaml", "model_weights.ckpt"):
            archive.add(tmp_path / name, f"./{name}")
    for path in (tmp_path / "a.nemo", tmp_path / "model_weights.ckpt"):
        read = read_weights(path)
        assert all(np.array_equal(read[name], value) for name, value in weights.items()) and len(read) == len(weights)
    loaded = model_from_arrays(config, read)
    assert all(
        torch.equal(value, ours.state_dict()[name])
        for name, value in loaded.state_dict().items()
        if not name.startswith("simple_")
    )


def test_archives_that_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with tarfile.open(tmp_path / "none.nemo", "w:") as archive:
        archive.add(tmp_path / "a.txt", "a.txt")
    with tarfile.open(tmp_path / "link.nemo", "w:") as archive:
        member = tarfile.TarInfo("model_weights.ckpt")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with tarfile.open(tmp_path / "gz.nemo", "w:gz") as archive:
        archive.add(tmp_path / "a.txt", "model_weights.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    for name, message in (
        ("none.nemo", "does not hold one file"),
        ("link.nemo", "does not hold one file"),
        ("gz.nemo", "not an uncompressed tar"),
        ("list.ckpt", "no dict of tensors"),
        ("missing.nemo", "No such file"),
    ):
        with pytest.raises(ValueError, match=f"{name}.* {message}|{name}: {message}") as error:
            read_weights(tmp_path / name)
        assert "\n" not in str(error.value)
