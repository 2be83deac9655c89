"""Training with a frozen encoder, on audio and on its stored output: the same training, and an encoder that stays."""

import shutil

import numpy as np
import pytest
import torch
from lhotse import CutSet

from hainan_k2 import compute_features, decode, export, train
from hainan_k2.config import ModelConfig
from hainan_k2.data.cuts import ENCODER
from hainan_k2.files.jsonl import read_lines
from hainan_k2.formats.checkpoint import LAST, load_checkpoint, load_model
from hainan_k2.formats.model_dir import read_model
from hainan_k2.model.hainan import Hainan
from hainan_k2.training.encoder_output import AT_ONCE, EncoderOutput, encoder_sha256
from tests.toy import train_command

OPTIONS = ("--loss", "full", "--mask-prob", "0.5", "--num-epochs", "2", "--freeze-encoder", "true")


def small_model(folder, toy, name, *options):
    """A model directory after one epoch without masks."""
    train.main(train_command(toy, name, "--loss", "full", "--mask-prob", "0", "--num-epochs", "1", *options))
    export.main(["--exp-dir", str(toy / name), "--out-dir", str(folder), "--precision", "float32"])
    return folder


@pytest.fixture(scope="module")
def start(toy):
    return small_model(toy / "start-model", toy, "start")


@pytest.fixture(scope="module")
def stored(toy, start):
    """The folder of the manifests whose cuts have the encoder's output."""
    store(toy, start, toy / "encoded")
    return toy / "encoded"


def store(toy, model, out_dir, *options):
    manifests = toy / "manifests"
    if not manifests.is_dir():
        manifests.mkdir()
        for name in ("train", "dev"):
            shutil.copy(toy / f"{name}.jsonl.gz", manifests / f"toy_cuts_{name}.jsonl.gz")
    command = ["--manifest-dir", str(manifests), "--out-dir", str(out_dir), "--prefix", "toy", "--encoder", str(model)]
    compute_features.main([*command, "--split", "train", "dev", *options])


def command(toy, exp, start, *options):
    """Arguments of train.py without --preset and --lang-dir: both come from the model."""
    arguments = train_command(toy, exp, *OPTIONS, "--init-from", str(start), *options)
    for name in ("--preset", "--lang-dir"):
        at = arguments.index(name)
        del arguments[at : at + 2]
    return arguments


def on_stored(stored):
    return "--train-cuts", str(stored / "toy_cuts_train.jsonl.gz"), "--dev-cuts", str(stored / "toy_cuts_dev.jsonl.gz")


@pytest.fixture(scope="module")
def trained(toy, start, stored):
    """Trained on the audio of the same cuts, in the same order."""
    cuts = CutSet.from_file(stored / "toy_cuts_train.jsonl.gz").drop_features()
    cuts.to_file(toy / "same-order.jsonl.gz")
    train.main(command(toy, "frozen", start, "--train-cuts", str(toy / "same-order.jsonl.gz")))
    return toy / "frozen"


def test_the_encoder_stays_bit_by_bit_and_the_rest_learns(start, trained):
    model, checkpoint = read_model(start)[0], load_checkpoint(trained / LAST)
    assert not model.config.predictor_masking and checkpoint["model_config"]["predictor_masking"]
    before, after = model.state_dict(), checkpoint["model"]
    encoder = [name for name in before if name.startswith("encoder.")]
    assert any("running_var" in name for name in encoder) and any("num_batches_tracked" in name for name in encoder)
    assert all(torch.equal(before[name], after[name]) for name in encoder)
    others = [name for name in before if name not in encoder]
    assert others and not any(torch.equal(before[name], after[name]) for name in others)
    ctc = load_checkpoint(trained / "epoch-1.safetensors")["model"]["ctc.weight"]
    assert not torch.equal(ctc, after["ctc.weight"])
    average = load_checkpoint(trained / LAST)["average"]["mean"]
    assert all(torch.equal(before[name].float(), average[name].float()) for name in encoder if name in average)


def test_training_on_stored_output_is_training_on_audio(toy, start, stored, trained):
    train.main(command(toy, "cached", start, *on_stored(stored)))
    audio, cached = (read_lines(toy / name / "updates.jsonl") for name in ("frozen", "cached"))
    assert len(audio) == len(cached) > 10
    for one, other in zip(audio, cached):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4) and one["ctc"] == pytest.approx(
            other["ctc"], abs=1e-4
        )
    weights = [load_model([toy / name / "epoch-2.safetensors"])[0].state_dict() for name in ("frozen", "cached")]
    assert all(torch.allclose(value, weights[1][name], atol=1e-3) for name, value in weights[0].items())
    dev = [read_lines(toy / name / "epochs.jsonl")[-1] for name in ("frozen", "cached")]
    assert dev[0]["dev_loss"] == pytest.approx(dev[1]["dev_loss"], abs=1e-3)


def test_what_is_stored_is_the_encoder_output_of_every_cut(start, stored):
    model, _, _ = read_model(start)
    extractor = EncoderOutput.of_model(str(start))
    for cut in CutSet.from_file(stored / "toy_cuts_dev.jsonl.gz"):
        frames = cut.features.load()
        assert frames.dtype == np.float32 and frames.shape == (cut.features.num_frames, model.config.d_model)
        assert len(frames) == -(-round(cut.duration * 100) // 8), "the last frame is completed, not rounded away"
        assert np.array_equal(frames, extractor.extract(cut.load_audio(), 16000))
        assert cut.custom[ENCODER] == encoder_sha256(model)


def test_long_audio_is_encoded_in_windows(start):
    extractor = EncoderOutput.of_model(str(start))
    samples = np.random.default_rng(0).standard_normal(int((AT_ONCE + 2) * 16000)).astype(np.float32)
    assert extractor.extract(samples, 16000).shape == (400, 64)


def refused(main, arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    line = capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code == 2 and ": error: " in line
    return line


def test_stored_output_of_another_encoder_is_refused(toy, start, stored, tmp_path, capsys):
    other = small_model(tmp_path / "other", toy, "other", "--seed", "7")
    line = refused(train.main, command(toy, "refused", other, *on_stored(stored)), capsys)
    mine, theirs = (encoder_sha256(read_model(folder)[0])[:12] for folder in (start, other))
    assert f"has the stored output of another encoder, SHA-256 {mine}; that of this model is {theirs}" in line
    store(toy, other, tmp_path / "encoded", "--split", "dev")
    mixed = CutSet.from_file(stored / "toy_cuts_train.jsonl.gz").to_eager().subset(first=2)
    (mixed + CutSet.from_file(tmp_path / "encoded" / "toy_cuts_dev.jsonl.gz")).to_file(tmp_path / "mixed.jsonl.gz")
    line = refused(train.main, command(toy, "refused", start, "--train-cuts", str(tmp_path / "mixed.jsonl.gz")), capsys)
    assert "cut dev-" in line and f"SHA-256 {theirs}" in line


def test_stored_output_serves_training_with_a_frozen_encoder_only(toy, start, stored, tmp_path, capsys):
    unfrozen = command(toy, "refused", start, *on_stored(stored), "--freeze-encoder", "false")
    assert "stored encoder output, which serves training with --freeze-encoder true" in refused(
        train.main, unfrozen, capsys
    )
    cuts = str(stored / "toy_cuts_dev.jsonl.gz")
    line = refused(decode.main, ["--model", str(start), "--cuts", cuts, "--out-dir", str(tmp_path / "out")], capsys)
    assert "stored encoder output" in line and "give cuts without features" in line
    halves = CutSet.from_file(stored / "toy_cuts_train.jsonl.gz").cut_into_windows(0.4).filter(lambda c: c.supervisions)
    CutSet.from_cuts(cut for cut in halves if len(cut.supervisions) == 1).to_file(tmp_path / "parts.jsonl.gz")
    parts = command(toy, "refused", start, "--train-cuts", str(tmp_path / "parts.jsonl.gz"))
    assert "is a part or a mixture of cuts" in refused(train.main, parts, capsys)
    noise = command(toy, "refused", start, *on_stored(stored), "--noise-cuts", str(toy / "dev.jsonl.gz"))
    assert "noise_cuts needs audio or features" in refused(train.main, noise, capsys)


def test_what_a_frozen_encoder_needs(toy, start, tmp_path, capsys):
    line = refused(train.main, train_command(toy, "refused", "--freeze-encoder", "true"), capsys)
    assert "--freeze-encoder needs --init-from" in line
    fixed = train_command(toy, "refused", "--freeze-encoder", "true", "--init-from", str(start), "--inter-ctc", "0.3")
    assert "--inter-ctc is a loss of the encoder's layers" in refused(train.main, fixed, capsys)
    other = tmp_path / "lang"
    other.mkdir()
    (tmp_path / "text").write_text("abcdefgh ijklmnop\nqrst uvwxyz\n")
    from hainan_k2.lang import train_bpe

    train_bpe.main(["--text", str(tmp_path / "text"), "--vocab-size", "40", "--lang-dir", str(other)])
    line = refused(train.main, command(toy, "refused", start, "--lang-dir", str(other)), capsys)
    assert f"has other tokens than --lang-dir {other}: leave out --lang-dir" in line
    arguments = train_command(toy, "refused")
    at = arguments.index("--lang-dir")
    assert "--lang-dir is required" in refused(train.main, arguments[:at] + arguments[at + 2 :], capsys)
    both = ["--manifest-dir", "m", "--out-dir", "o", "--split", "x", "--encoder", "a", "--encoder-weights", "b"]
    assert "are different encoders: give one" in refused(compute_features.main, both, capsys)


@pytest.mark.parametrize("encoder", ["fastconformer", "whisper"])
def test_a_frozen_encoder_is_deterministic_in_training(encoder):
    whisper = {"whisper_dim": 8, "whisper_layers": 1, "whisper_heads": 2}
    torch.manual_seed(0)
    model = Hainan(ModelConfig.preset("tiny", vocab_size=9, encoder=encoder, dropout=0.5, **whisper))
    model.freeze_encoder()
    assert model.train().training and not model.encoder.training and model.predictor.training
    features, lens = torch.randn(2, 64, 80), torch.tensor([64, 40])
    first, again = model.encoder(features, lens)[0], model.encoder(features, lens)[0]
    assert torch.equal(first, again) and not first.requires_grad
    assert torch.equal(first, model.eval().encoder(features, lens)[0])
    assert not any(p.requires_grad for p in model.encoder.parameters())
    assert all(p.requires_grad for name, p in model.named_parameters() if not name.startswith("encoder."))


def test_the_fingerprint_is_of_the_encoder_alone():
    def model(seed, **options):
        torch.manual_seed(seed)
        return Hainan(ModelConfig.preset("tiny", **{"vocab_size": 9, **options}))

    first = model(0)
    digest = encoder_sha256(first)
    with torch.no_grad():
        first.joiner.out.weight.add_(1.0)
        first.encoder.layers[0].conv.batch_norm.num_batches_tracked.add_(1)
    assert encoder_sha256(first) == digest
    other = model(0, vocab_size=12, durations=(0, 1), dropout=0.3, predictor="stateless", joiner_dim=8, ctc=False)
    other.encoder.load_state_dict(first.encoder.state_dict())
    assert encoder_sha256(other) == digest
    with torch.no_grad():
        first.encoder.layers[0].conv.batch_norm.running_mean[0] += 1e-6
    assert encoder_sha256(first) != digest
    scaled = model(0, xscaling=True)
    scaled.encoder.load_state_dict(other.encoder.state_dict())
    assert encoder_sha256(scaled) != digest
