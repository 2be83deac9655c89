"""A tiny FastConformer-TDT with another toolkit's weights gives that toolkit's outputs."""

import json
import pathlib

import numpy as np
import pytest
import torch

from hainan_k2 import METHODS, SearchConfig, tdt_loss
from hainan_k2.tools.nemo import model_from_arrays

VECTORS = pathlib.Path(__file__).parent.parent / "data" / "nemo_fastconformer_tiny.npz"


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(VECTORS))


def parts(golden):
    config = json.loads(golden["config"].tobytes())
    return config, {k[len("weights/"):]: v for k, v in golden.items() if k.startswith("weights/")}


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
    return torch.cat([logits[..., 1:blank + 1], logits[..., :1], logits[..., blank + 1:]], dim=-1)


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
        close(predicted[b, :u + 1], golden["out/predictor"].transpose(0, 2, 1)[b, :u + 1])
        close(blank_last(joint[b, :t, :u + 1], blank), golden["out/joint"][b, :t, :u + 1])
        theirs = golden["out/joint_without_predictor"]
        close(blank_last(nar[b, :t], blank).reshape(theirs[b][:t].shape), theirs[b][:t])


@pytest.mark.parametrize("backend", ["k2", "torch"])
def test_tdt_loss(golden, model, encoded, backend):
    labels = torch.from_numpy(golden["in/labels"]).long() + 1
    lens = torch.from_numpy(golden["in/label_lens"]).long()
    with torch.no_grad():
        pred = model.joiner.project_predictor(model.predictor(labels))[:, None]
        logits = model.joiner.logits(model.joiner.project_encoder(encoded[0])[:, :, None], pred)
        nll = tdt_loss(logits, labels, encoded[1], lens, model.durations, reduction="none", backend=backend)
    close(nll, golden["out/tdt_nll"].astype(np.float32))


def test_greedy_search(golden, model, encoded):
    found = METHODS["ar-greedy"].function(model, *encoded, SearchConfig(max_symbols=10))
    for i, hypothesis in enumerate(found):
        tokens, frames, durations = (golden[f"out/greedy_{name}_{i}"] for name in ("tokens", "frames", "durations"))
        assert list(hypothesis.ids) == (tokens + 1).tolist()
        assert [t.frame for t in hypothesis.tokens] == frames.tolist()
        assert [t.duration for t in hypothesis.tokens] == durations.tolist()
        assert len(tokens) > 0


@pytest.mark.parametrize("change, message", [
    (lambda c, w: w.pop("joint.enc.bias"), "joiner.enc.bias is missing"),
    (lambda c, w: w.update({"encoder.extra": np.zeros(1)}), "encoder.extra is not part"),
    (lambda c, w: w.update({"joint.enc.bias": np.zeros(3)}), "joiner.enc.bias is"),
    (lambda c, w: c.pop("heads"), "config lacks heads"),
])
def test_what_does_not_fit_is_named(golden, change, message):
    config, weights = parts(golden)
    change(config, weights)
    with pytest.raises(ValueError, match=message):
        model_from_arrays(config, weights)
