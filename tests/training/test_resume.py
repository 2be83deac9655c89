"""Training resumes from the newest intact checkpoint, survives a full disk, and starts from any kind of model."""

import os
import random
import resource
import shutil

import pytest
import torch

from hainan_k2 import export, train
from hainan_k2.config import ModelConfig
from hainan_k2.files.jsonl import read_lines
from hainan_k2.formats.checkpoint import LAST, load_checkpoint, load_newest, save_checkpoint
from hainan_k2.formats.model_dir import RELEASED, read_model
from hainan_k2.model.hainan import Hainan
from hainan_k2.text.tokenizer import Tokenizer
from hainan_k2.training.initial import choose_dimensions, load_initial, read_initial
from hainan_k2.training.progress import TrainingProgress
from tests.toy import train_command

OPTIONS = ("--loss", "full", "--average-every", "1")


def damage(path):
    """64 bytes flipped, somewhere in the values."""
    content, rng = bytearray(path.read_bytes()), random.Random(1)
    for _ in range(64):
        content[rng.randrange(len(content) // 2, len(content))] ^= 0xFF
    path.write_bytes(content)


def error_of(capsys, toy, exp, *options):
    with pytest.raises(SystemExit) as stopped:
        train.main(train_command(toy, exp, *OPTIONS, *options))
    assert stopped.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert ": error: " in line
    return line


@pytest.fixture(scope="module")
def two_epochs(toy):
    train.main(train_command(toy, "two", *OPTIONS, "--num-epochs", "2"))
    return toy / "two"


def test_a_damaged_last_checkpoint(toy, two_epochs, capsys):
    exp = toy / "damaged"
    shutil.copytree(two_epochs, exp)
    damage(exp / LAST)
    (exp / ".0123.partial").write_bytes(b"of a killed run")
    train.main(train_command(toy, "damaged", *OPTIONS, "--num-epochs", "3"))
    log = (exp / "train.log").read_text()
    assert f"{exp / LAST} cannot be read as a checkpoint: it is damaged, its checksum does not fit" in log
    assert f"going on from {exp / 'epoch-2.safetensors'}" in log
    assert not list(exp.glob(".*"))
    updates = [line["update"] for line in read_lines(exp / "updates.jsonl")]
    assert updates == list(range(1, len(updates) + 1))
    train.main(train_command(toy, "two", *OPTIONS, "--num-epochs", "3"))
    ours, theirs = (load_checkpoint(folder / LAST) for folder in (exp, two_epochs))
    for part in ("model", "progress"):
        same = torch.equal if part == "model" else int.__eq__
        assert all(same(ours[part][k], v) for k, v in theirs[part].items() if not isinstance(v, float))
    assert all(torch.equal(ours["average"]["mean"][k], v) for k, v in theirs["average"]["mean"].items())
    for path in exp.glob("*.safetensors"):
        damage(path)
    line = error_of(capsys, toy, "damaged", "--num-epochs", "4")
    assert f"no checkpoint of {exp} is intact" in line and str(exp / LAST) in line and "epoch-1.safetensors" in line


def test_a_full_disk(toy, two_epochs, capsys):
    exp = toy / "full"
    shutil.copytree(two_epochs, exp)
    before = {path.name: path.read_bytes() for path in exp.glob("*.safetensors")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:  # of a file: logs fit, checkpoints do not
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before[LAST]) // 2, limits[1]))
        line = error_of(capsys, toy, "full", "--num-epochs", "5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in line and f"{exp}/epoch-" in line
    assert {path.name: path.read_bytes() for path in exp.glob("*.safetensors")} == before
    assert not list(exp.glob(".*")) and load_newest(exp)[0] == exp / LAST


def test_no_checkpoint_and_those_of_an_older_version(tmp_path):
    assert load_newest(tmp_path) is None
    save_checkpoint(tmp_path / "epoch-1.safetensors", {"a": 1})
    save_checkpoint(tmp_path / "epoch-10.safetensors", {"a": 10})
    assert load_newest(tmp_path)[1] == {"a": 10}
    os.rename(tmp_path / "epoch-1.safetensors", tmp_path / "epoch-1.pt")
    os.rename(tmp_path / "epoch-10.safetensors", tmp_path / "last.pt")
    with pytest.raises(ValueError, match="older version of hainan_k2 .epoch-1.pt, last.pt.*another --exp-dir"):
        load_newest(tmp_path)


def test_progress_of_older_checkpoints():
    """Two fields had other names."""
    older = {"epoch": 2, "batch": 1, "updates": 7, "heard": 3.5, "skipped": 1, "unspelled": 4}
    assert TrainingProgress.from_dict(older) == TrainingProgress(2, 1, 7, 3.5, 1, 4)
    assert TrainingProgress.from_dict(vars(TrainingProgress(3, updates=9))) == TrainingProgress(3, updates=9)
    with pytest.raises(TypeError, match="colour"):
        TrainingProgress.from_dict({"colour": 1})


def test_training_starts_from_a_model_directory(toy, two_epochs, tmp_path):
    export.main(
        ["--exp-dir", str(two_epochs), "--epoch", "2", "--out-dir", str(tmp_path / "m"), "--precision", "float32"]
    )
    command = train_command(toy, "started", *OPTIONS, "--num-epochs", "1", "--init-from", str(tmp_path / "m"))
    at = command.index("--preset")
    train.main(command[:at] + command[at + 2 :])
    log = (toy / "started" / "train.log").read_text()
    assert f"weights of {tmp_path / 'm'}; ctc, simple_am, simple_lm start at random" in log
    first, fresh = (read_lines(toy / name / "updates.jsonl")[0] for name in ("started", "two"))
    assert first["tdt"] < fresh["tdt"]
    config = load_checkpoint(toy / "started" / LAST)["model_config"]
    assert config == load_checkpoint(two_epochs / LAST)["model_config"]


@pytest.mark.parametrize("name", ["released", str(RELEASED), str(RELEASED / "model.safetensors")])
def test_the_released_model(name):
    released, tokenizer, _ = read_model(RELEASED)
    initial = read_initial(name)
    assert initial.tokenizer.pieces == tokenizer.pieces
    model = Hainan(choose_dimensions(None, {"dropout": 0.2}, tokenizer.vocab_size, initial))
    assert model.config.dropout == 0.2 and model.config.ctc
    load_initial(model, initial)
    weights = model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in released.state_dict().items())
    assert choose_dimensions("whisper-base", {}, tokenizer.vocab_size, initial).d_model == released.config.d_model


def test_models_that_training_cannot_start_from(toy, two_epochs, tmp_path):
    lang_dir = toy / "lang"
    tokenizer = Tokenizer(lang_dir)
    with pytest.raises(ValueError, match="released has other tokens than --lang-dir .*/lang: leave out --lang-dir"):
        read_initial("released", lang_dir)
    for name in (str(tmp_path), "nowhere"):
        with pytest.raises(ValueError, match="a checkpoint of train.py .*, a model directory .*, released"):
            read_initial(name, lang_dir)
    (tmp_path / "model.safetensors").write_bytes((RELEASED / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="holds tensors of another program, not a checkpoint"):
        read_initial(str(tmp_path / "model.safetensors"), lang_dir)
    initial = read_initial(str(two_epochs / LAST), lang_dir)
    with pytest.raises(ValueError, match="--lang-dir is required: the checkpoint .* has no tokenizer"):
        read_initial(str(two_epochs / LAST))
    for preset, dimensions, message in (
        ("tiny", {"durations": (0, 1)}, "another durations"),
        (None, {"d_model": 32}, "another d_model"),
        ("XS", {}, "another d_model, num_layers"),
    ):
        with pytest.raises(ValueError, match=f"was trained with {message}"):
            choose_dimensions(preset, dimensions, tokenizer.vocab_size, initial)
    assert choose_dimensions(None, {}, 12, None) == ModelConfig.preset("M", vocab_size=12)
