"""Training that takes some modules of another model, `--init-modules`, the others having other dimensions."""

import pytest
import torch

from hainan_k2 import train
from hainan_k2.config import ModelConfig
from hainan_k2.files.jsonl import read_lines
from hainan_k2.formats.checkpoint import LAST, load_checkpoint
from hainan_k2.formats.model_dir import RELEASED
from hainan_k2.model.hainan import Hainan
from hainan_k2.training.initial import choose_dimensions, load_initial, read_initial
from tests.toy import train_command

MODULES = ("encoder.layers", "predictor", "joiner")


@pytest.fixture(scope="module")
def initial():
    return read_initial(str(RELEASED))


def with_another_encoder(initial, modules):
    other = {"whisper_dim": 64, "whisper_layers": 2, "whisper_heads": 4}
    torch.manual_seed(1)
    return Hainan(choose_dimensions("whisper-base", other, initial.tokenizer.vocab_size, initial, modules))


def test_only_these_modules_are_copied(initial, caplog):
    caplog.set_level("INFO")
    model = with_another_encoder(initial, MODULES)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_initial(model, initial, MODULES)
    after = model.state_dict()
    taken = [name for name in after if name.startswith(tuple(f"{module}." for module in MODULES))]
    assert len(taken) > 50 and not any(name.startswith(("encoder.whisper", "encoder.project")) for name in taken)
    for name, value in after.items():
        assert torch.equal(value, initial.weights[name] if name in taken else before[name]), name
    assert f"weights of {RELEASED} for encoder.layers, predictor, joiner" in caplog.text


def test_a_name_is_that_of_a_whole_module(initial):
    """`encoder.layers.1` not `encoder.layers.10`."""
    model = with_another_encoder(initial, MODULES)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_initial(model, initial, ("encoder.layers.1",))
    for name, value in model.state_dict().items():
        inside = name.startswith("encoder.layers.1.")
        assert torch.equal(value, initial.weights[name] if inside else before[name]), name


@pytest.mark.parametrize("module", ["encoder.layer", "decoder", "join"])
def test_unknown_modules(initial, module):
    with pytest.raises(ValueError, match=rf"--init-modules {module}: .* has .*encoder, joiner, predictor"):
        load_initial(with_another_encoder(initial, MODULES), initial, ("predictor", module))


def test_modules_of_another_shape(initial):
    with pytest.raises(ValueError, match="weights that do not fit this model: encoder.whisper"):
        load_initial(with_another_encoder(initial, MODULES), initial, ("encoder",))
    smaller = Hainan(ModelConfig.preset("tiny", vocab_size=initial.tokenizer.vocab_size))
    with pytest.raises(ValueError, match="weights that do not fit this model: joiner"):
        load_initial(smaller, initial, ("joiner",))


@pytest.mark.parametrize(
    "modules, options, changed",
    [
        (("joiner",), {"durations": tuple(range(1, 10))}, "durations"),
        (("simple_lm",), {"durations": tuple(range(1, 10))}, "durations"),
        (("encoder.layers.0",), {"num_heads": 8}, "num_heads"),
        (("encoder",), {"whisper_heads": 4, "num_heads": 2}, "num_heads, whisper_heads"),
        (("predictor", "joiner.out"), {"joiner_activation": "tanh"}, "joiner_activation"),
    ],
)
def test_options_that_change_no_shape(initial, modules, options, changed):
    """Weights trained with others would be taken for what they are not."""
    with pytest.raises(ValueError, match=f"was trained with another {changed}: leave out"):
        choose_dimensions(None, options, initial.tokenizer.vocab_size, initial, modules)
    assert choose_dimensions(None, options, initial.tokenizer.vocab_size, initial, ("ctc",)).num_layers == 4


def test_a_training_with_another_front(toy, capsys):
    train.main(train_command(toy, "teacher", "--loss", "full", "--num-epochs", "1"))
    modules = ("--init-from", str(toy / "teacher" / LAST), "--init-modules", "encoder.layers,predictor,joiner")
    narrower = ("--subsampling-channels", "8", "--loss", "full", "--num-epochs", "1")
    train.main(train_command(toy, "front", *narrower, *modules))
    assert load_checkpoint(toy / "front" / LAST)["model_config"]["subsampling_channels"] == 8
    log = (toy / "front" / "train.log").read_text()
    assert "for encoder.layers, predictor, joiner" in log
    train.main(train_command(toy, "fresh", *narrower))
    taught, fresh = (read_lines(toy / name / "updates.jsonl")[0]["tdt"] for name in ("front", "fresh"))
    assert taught < fresh
    frozen = (*modules, "--freeze-encoder", "true")
    for options, message in (
        (("--init-modules", "predictor"), "--init-modules needs --init-from"),
        (frozen, "--freeze-encoder fixes the whole encoder: add encoder to --init-modules"),
    ):
        with pytest.raises(SystemExit) as stopped:
            train.main(train_command(toy, "none", *options))
        assert stopped.value.code == 2 and message in capsys.readouterr().err
