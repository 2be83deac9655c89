"""The training objectives tdt, rnnt and ctc: their losses against references, gradients, and options that fit."""

import math

import numpy as np
import pytest
import torch

from hainan_k2 import decode, train
from hainan_k2.config import ModelConfig
from hainan_k2.files.jsonl import read_lines
from hainan_k2.fsa.k2 import why_no_k2
from hainan_k2.model.hainan import Hainan
from hainan_k2.search import METHODS, SearchConfig
from hainan_k2.search.choosing import choose_methods
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.training.objective import LossConfig, hainan_losses, transducer_losses
from hainan_k2.training.validation import figure_names
from tests.oracles.loss import brute_force, dynamic_programming, log_softmax
from tests.toy import decode_command, train_command

VOCAB = 6
TARGETS, TARGET_LENS = torch.tensor([[1, 2, 2], [3, 0, 0]]), torch.tensor([3, 1])
LENS = torch.tensor([9, 5])
BACKENDS = ["torch"] if why_no_k2() else ["torch", "k2"]


def model_of(objective, **options):
    torch.manual_seed(0)
    durations = (0, 1, 2) if objective == "tdt" else (0,)
    options = {"joiner_dropout": 0.0, "predictor_dropout": 0.0, **options}
    return Hainan(ModelConfig.preset("tiny", vocab_size=VOCAB, objective=objective, durations=durations, **options))


def encoded(model):
    return torch.randn(2, 9, model.config.d_model, generator=torch.Generator().manual_seed(1))


def losses_of(model, **options):
    return hainan_losses(
        model, encoded(model), LENS, TARGETS, TARGET_LENS, LossConfig(**options), 10**6, Stopwatch(), encoded=True
    )


def all_ctc_paths(log_probs, labels):
    """Minus the log-probability of the labels, over every sequence of frame labels."""
    total = -math.inf
    for path in np.ndindex(*log_probs.shape[1:] * len(log_probs)):
        runs = [v for i, v in enumerate(path) if v and (i == 0 or path[i - 1] != v)]
        if runs == labels:
            total = np.logaddexp(total, sum(log_probs[t, v] for t, v in enumerate(path)))
    return -total


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mask_prob", [0.0, 1.0])
def test_rnnt_losses_of_the_joint(mask_prob, backend):
    """Full and pruned; masked at every position, the joint is the encoder-only one."""
    model = model_of("rnnt")
    frames = encoded(model)
    with torch.no_grad():
        enc = model.joiner.project_encoder(frames)[:, :, None]
        pred = model.joiner.project_predictor(model.predictor(TARGETS))[:, None]
        joint = model.joiner.out(torch.relu(enc + (pred if mask_prob == 0 else 0 * pred)))
    expected = [
        dynamic_programming(joint[b, :t, : u + 1].numpy(), TARGETS[b, :u].tolist(), None, sigma=0.05)
        for b, (t, u) in enumerate(zip(LENS.tolist(), TARGET_LENS.tolist()))
    ]
    for loss, band in (("full", 5), ("pruned", 4)):
        config = LossConfig(loss=loss, prune_band=band, mask_prob=mask_prob, backend=backend)
        found = transducer_losses(model.train(), frames, LENS, TARGETS, TARGET_LENS, config, Stopwatch())
        assert set(found) == ({"rnnt"} if loss == "full" else {"rnnt", "simple"})
        assert found["rnnt"].tolist() == pytest.approx(expected, rel=1e-5)
    validated = transducer_losses(model.eval(), frames, LENS, TARGETS, TARGET_LENS, config, Stopwatch())["rnnt"]
    assert all(validated < found["rnnt"]) or mask_prob, "sigma is for training only"


def all_masked(model, mask_scores):
    """The outputs of the joint where every position is masked."""
    frames, v = encoded(model), model.vocab_size
    with torch.no_grad():
        enc = model.joiner.project_encoder(frames)[:, :, None]
        pred = model.joiner.project_predictor(model.predictor(TARGETS))[:, None]
        masked, plain = (model.joiner.out(torch.relu(enc + x)) for x in (0 * pred, pred))
    tokens = plain if mask_scores == "durations" else masked
    durations = plain if mask_scores == "tokens" else masked
    return torch.cat([tokens[..., :v], durations[..., v:]], -1)


@pytest.mark.parametrize("mask_scores", ["all", "tokens", "durations"])
def test_scores_that_masks_apply_to(mask_scores):
    """At mask_prob 1, full and pruned, with a penalty on duration 0; neither applies in validation."""
    model = model_of("tdt").train()
    joint = all_masked(model, mask_scores)
    options = {"mask_scores": mask_scores, "mask_prob": 1.0, "zero_penalty": 0.5, "backend": "torch"}
    batch = encoded(model), LENS, TARGETS, TARGET_LENS
    expected = [
        brute_force(joint[b, :t, : u + 1].numpy(), TARGETS[b, :u].tolist(), (0, 1, 2), 0.05, zero_penalty=0.5)[0]
        for b, (t, u) in enumerate(zip(LENS.tolist(), TARGET_LENS.tolist()))
    ]
    for loss, band in (("full", 5), ("pruned", 4)):
        config = LossConfig(loss=loss, prune_band=band, **options)
        found = transducer_losses(model.train(), *batch, config, Stopwatch())["tdt"]
        assert found.tolist() == pytest.approx(expected, rel=1e-5)
        validated = transducer_losses(model.eval(), *batch, config, Stopwatch())["tdt"]
        plain = transducer_losses(model, *batch, LossConfig(loss=loss, prune_band=band), Stopwatch())["tdt"]
        assert torch.equal(validated, plain)


def test_ctc_is_the_whole_objective_of_a_ctc_model():
    model = model_of("ctc")
    found = losses_of(model, ctc_scale=0.1)
    assert set(found.parts) == {"ctc"} and found.labels == 4
    with torch.no_grad():
        log_probs = log_softmax(model.ctc(encoded(model)).numpy())
    expected = all_ctc_paths(log_probs[1, :5], [3])
    own = hainan_losses(
        model, encoded(model)[1:], LENS[1:], TARGETS[1:], TARGET_LENS[1:], LossConfig(), 0, Stopwatch(), encoded=True
    )
    assert float(own.total.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(found.total.detach()) == pytest.approx(float(found.parts["ctc"]) / 4)


@pytest.mark.parametrize("objective", ["tdt", "rnnt", "ctc"])
@pytest.mark.parametrize("loss", ["full", "pruned"])
def test_every_part_of_the_model_learns(objective, loss):
    model = model_of(objective)
    features = torch.randn(2, 80, 80)
    targets, lens = torch.tensor([[1, 2, 2], [3, 1, 0]]), torch.tensor([3, 2])
    options = LossConfig(loss=loss, mask_prob=0.5)
    torch.manual_seed(3)  # of the masks
    hainan_losses(
        model.train(), features, torch.tensor([80, 56]), targets, lens, options, 0, Stopwatch()
    ).total.backward()
    without = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is None}
    assert without == (set() if loss == "pruned" or objective == "ctc" else {"simple_am", "simple_lm"})
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_an_utterance_that_ctc_cannot_align_adds_nothing():
    model = model_of("ctc")
    lens = torch.tensor([3, 5])  # 1 2 2 takes four frames
    found = hainan_losses(model, encoded(model), lens, TARGETS, TARGET_LENS, LossConfig(), 0, Stopwatch(), encoded=True)
    assert found.unalignable == [0] and found.finite


@pytest.mark.parametrize("loss", ["full", "pruned"])
@pytest.mark.parametrize("objective", ["tdt", "rnnt", "ctc"])
def test_a_batch_without_labels(objective, loss):
    """All transcripts are empty, U = 0: the losses are those of blanks alone, and no gradient is NaN."""
    model = model_of(objective).train()
    targets, config = torch.zeros(2, 0, dtype=torch.int64), LossConfig(loss=loss, mask_prob=0.0, sigma=0.0)
    empty = torch.zeros(2, dtype=torch.int64)
    found = hainan_losses(model, encoded(model), LENS, targets, empty, config, 10**6, Stopwatch(), encoded=True)
    assert found.labels == 0 and not found.unalignable
    with torch.no_grad():
        log_probs = log_softmax(model.ctc_log_probs(encoded(model)).numpy())
        blanks = -sum(float(log_probs[b, :t, 0].sum()) for b, t in enumerate(LENS.tolist()))
    assert float(found.parts["ctc"]) == pytest.approx(blanks, rel=1e-5)
    if objective != "ctc":
        durations = model.durations if objective == "tdt" else None
        with torch.no_grad():
            enc = model.joiner.project_encoder(encoded(model))[:, :, None]
            joint = model.joiner.outputs(enc, model.joiner.project_predictor(model.predictor(targets))[:, None])
        expected = sum(
            dynamic_programming(joint[b, :t].numpy(), [], durations, sigma=0.0) for b, t in enumerate(LENS.tolist())
        )
        assert float(found.parts[objective]) == pytest.approx(expected, rel=1e-5)
    found.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_the_encoder_starts_from_the_same_weights():
    """Whatever the objective is, the same seed gives the same encoder."""
    models = [model_of(objective) for objective in ("tdt", "rnnt", "ctc")]
    for name, value in models[0].encoder.state_dict().items():
        assert all(torch.equal(value, other.encoder.state_dict()[name]) for other in models[1:])


@pytest.mark.parametrize(
    "objective, options, message",
    [
        ("rnnt", {"omega": 0.1}, "omega is 0.1: it mixes RNN-T into the TDT loss, not into rnnt"),
        ("ctc", {"omega": 0.1}, "omega is 0.1"),
        ("rnnt", {"mask_scores": "tokens"}, "mask_scores is tokens: a model of objective rnnt has no durations"),
        ("rnnt", {"zero_penalty": 1.0}, "zero_penalty is 1.0: the model has no duration 0 beside others"),
        ("rnnt", {"prune_band": 1}, "prune_band is 1: bands of the pruned RNN-T loss have at least 2"),
    ],
)
def test_options_that_a_loss_does_not_have(objective, options, message):
    with pytest.raises(ValueError, match=message):
        LossConfig(**options).check_model(model_of(objective).config)
    LossConfig(**options).check_model(model_of("tdt").config)


def in_middle(model, features, lens):
    """What the encoder makes with only the lower half of its layers."""
    layers, model.encoder.layers = model.encoder.layers, model.encoder.layers[: len(model.encoder.layers) // 2]
    try:
        return model.encoder(features, lens)
    finally:
        model.encoder.layers = layers


@pytest.mark.parametrize("objective", ["tdt", "ctc"])
@pytest.mark.parametrize("layers", [2, 5])
def test_intermediate_ctc(objective, layers):
    """Takes its share of the weight of CTC, on the output of the lower half of the encoder, with the same head."""
    model = model_of(objective, num_layers=layers, dropout=0.0).eval()
    features, lens = torch.randn(2, 72, 80, generator=torch.Generator().manual_seed(2)), torch.tensor([72, 40])
    arguments = model, features, lens, TARGETS, TARGET_LENS

    def losses(share):
        return hainan_losses(*arguments, LossConfig(ctc_scale=0.4, inter_ctc=share), 10**6, Stopwatch())

    without, with_it = losses(0.0), losses(0.25)
    assert "inter_ctc" not in without.parts and len(model.encoder.layers) == layers
    alone = [part[1:] for part in arguments[1:]]  # an utterance short enough to go through all its paths
    x, n = in_middle(model, *alone[:2])
    log_probs = model.ctc_log_probs(x)[0, : int(n)].detach().double().numpy()
    found = hainan_losses(model, *alone, LossConfig(inter_ctc=0.5), 0, Stopwatch())
    assert float(found.parts["inter_ctc"]) == pytest.approx(all_ctc_paths(log_probs, [3]), rel=1e-4)
    weight = 1.0 if objective == "ctc" else 0.4
    ctc, middle = (float(with_it.parts[name]) for name in ("ctc", "inter_ctc"))
    assert ctc == pytest.approx(float(without.parts["ctc"])) and abs(ctc - middle) > 0.1
    difference = float(with_it.total - without.total) * with_it.labels
    assert difference == pytest.approx(0.25 * weight * (middle - ctc), rel=1e-3)
    model.zero_grad()
    losses(0.9).total.backward()
    assert not model.encoder.layers[0]._forward_hooks and model.encoder.layers[0].norm_out.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("options, loss", [({"num_layers": 1}, {}), ({"ctc": False}, {}), ({}, {"ctc_scale": 0.0})])
def test_intermediate_ctc_that_cannot_be(options, loss):
    with pytest.raises(ValueError, match="inter_ctc is 0.5: it needs a CTC loss and num_layers of at least 2"):
        LossConfig(inter_ctc=0.5, **loss).check_model(model_of("tdt", **options).config)
    LossConfig(inter_ctc=0.5, ctc_scale=0.0).check_model(model_of("ctc").config)


def test_what_validation_decodes():
    masked, plain = (ModelConfig(objective="rnnt", durations=(0,), predictor_masking=m) for m in (True, False))
    assert figure_names(ModelConfig()) == figure_names(masked) == {"ar-greedy": "dev_wer", "nar-greedy": "dev_wer_nar"}
    assert figure_names(plain) == {"ar-greedy": "dev_wer"}
    assert figure_names(ModelConfig(objective="ctc", durations=(0,))) == {"ctc-greedy": "dev_wer"}


def test_encoder_only_methods_of_a_masked_rnnt():
    """All run, and the NAR walk emits the best token of every frame."""
    model = model_of("rnnt").eval()
    names = [name for name in choose_methods(["all"], model=model.config) if "encoder-only" in METHODS[name].parts]
    assert {"nar-greedy", "sar", "viterbi", "sar-viterbi"} <= set(names)
    with torch.no_grad():
        best = model.joiner.outputs(model.joiner.project_encoder(encoded(model))).argmax(-1)
    expected = [tuple(v for v in row[:n] if v) for row, n in zip(best.tolist(), LENS.tolist())]
    for name in names:
        found = METHODS[name].function(model, encoded(model), LENS, SearchConfig())
        assert len(found) == 2
        if name == "nar-greedy":
            assert [hypothesis.ids for hypothesis in found] == expected and expected != [(), ()]


@pytest.mark.parametrize("objective, epochs, highest", [("ctc", 16, 0.05), ("rnnt", 24, 0.5)])
def test_the_toy_task_is_learned(objective, epochs, highest, toy, capsys):
    """An RNN-T needs more epochs than this: its first errors are deletions, because it spreads a token over frames."""
    exp = toy / f"objective-{objective}"
    options = ("--objective", objective, "--dropout", "0", "--max-duration", "8", "--num-epochs", str(epochs))
    train.main(train_command(toy, exp.name, *options, "--loss", "full", "--mask-prob", "0"))
    assert min(line["dev_wer"] for line in read_lines(exp / "epochs.jsonl")) < highest
    assert (exp / "curves.png").stat().st_size > 10000
    method = "ctc-greedy" if objective == "ctc" else "ar-greedy"
    decode.main(decode_command(toy, exp.name, "--method", method))
    assert f"\n{method} " in capsys.readouterr().out
