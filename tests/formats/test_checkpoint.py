"""Checkpoints: round trip, averaging against float64, files that are damaged, foreign or malicious."""

import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hainan_k2.config import ModelConfig, as_dict
from hainan_k2.files.container import write_container
from hainan_k2.formats.average import average_states
from hainan_k2.formats.checkpoint import (
    KIND,
    load_checkpoint,
    load_model,
    save_checkpoint,
    select_checkpoints,
)
from hainan_k2.model.hainan import Hainan


def test_plain_values_and_tensors_survive(tmp_path):
    state = {
        "lr": 1e-3,
        "name": "x",
        "none": None,
        "yes": True,
        "list": [1, 2.5, {"deep": torch.arange(3)}],
        "state": {0: {"step": torch.tensor(7.0)}, 1: {}},
        "tensor": torch.randn(2, 3, dtype=torch.float64),
    }
    save_checkpoint(tmp_path / "a.safetensors", state)
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    assert loaded["list"][:2] == [1, 2.5] and loaded["lr"] == 1e-3 and loaded["none"] is None and loaded["yes"] is True
    assert torch.equal(loaded["list"][2]["deep"], torch.arange(3))
    assert loaded["state"][0]["step"] == 7 and loaded["state"][1] == {}
    assert torch.equal(loaded["tensor"], state["tensor"])
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", {"lr": 1.0})
    with pytest.raises(TypeError):
        save_checkpoint(tmp_path / "a.safetensors", {"lr": object()})
    assert load_checkpoint(tmp_path / "a.safetensors") == {"lr": 1.0}


def test_tensors_are_named_by_their_path_of_keys(tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", {"model": {"w": torch.zeros(2)}, "state": [{3: torch.ones(1)}]})
    assert sorted(load_file(tmp_path / "a.safetensors")) == ["model/w", "state/0/3"]
    with pytest.raises(ValueError, match="two tensors of the checkpoint are named a/b"):
        save_checkpoint(tmp_path / "b.safetensors", {"a": {"b": torch.zeros(1)}, "a/b": torch.zeros(1)})


def write(path, state):
    """An intact container with any state."""
    write_container(path, KIND, {"w": torch.zeros(2)}, {"state": state})


@pytest.mark.parametrize(
    "state", [None, [], 1, {"dict": 3}, {"tensor": "x"}, {"dict": [[[1], 2]]}, {"x": 1}, {"dict": [[1]]}]
)
def test_malformed_states(tmp_path, state):
    write(tmp_path / "a.safetensors", state)
    with pytest.raises(ValueError, match="a.safetensors is not complete: make it again with"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_malformed_models(tmp_path):
    make_epochs(tmp_path, 1)
    sound = load_checkpoint(tmp_path / "epoch-1.safetensors")
    name = next(iter(sound["model"]))
    for change, message in (
        ({"model": {}}, "does not fit its own dimensions"),
        ({"model": 3}, "holds no model"),
        ({"model_config": None}, "holds no model"),
        ({"model": {"w": "x"}}, "holds no model"),
        ({"model_config": {"deep": 1}}, "no option deep"),
        ({"provenance": []}, "holds no model"),
        ({"model_config": {**sound["model_config"], "vocab_size": 10**6}}, "does not fit its own"),
        ({"model": {**sound["model"], name: torch.zeros(1)}}, "does not fit its own dimensions"),
        ({"model": {**sound["model"], "more": torch.zeros(1)}}, "more is not part of the model"),
    ):
        save_checkpoint(tmp_path / "epoch-2.safetensors", {**sound, **change})
        with pytest.raises(ValueError, match=f"epoch-2.safetensors.*{message}") as error:
            load_model([tmp_path / "epoch-2.safetensors"])
        assert "\n" not in str(error.value)
    other = {**sound, "model_config": {**sound["model_config"], "xscaling": True}}
    save_checkpoint(tmp_path / "epoch-2.safetensors", other)
    with pytest.raises(ValueError, match="are of different models: they have no average"):
        load_model(select_checkpoints(tmp_path, 2, 2))


def test_experiments_of_an_older_version(tmp_path):
    (tmp_path / "epoch-3.pt").write_bytes(b"PK")
    with pytest.raises(ValueError, match="only checkpoints of an older version .*epoch-3.pt.*train it again"):
        select_checkpoints(tmp_path, None, 1)


def make_epochs(folder, count):
    torch.manual_seed(0)
    config = ModelConfig.preset("tiny", vocab_size=9)
    states = []
    for epoch in range(1, count + 1):
        model = Hainan(config)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_()
                module.num_batches_tracked.fill_(epoch)
        states.append({k: v.clone() for k, v in model.state_dict().items()})
        save_checkpoint(folder / f"epoch-{epoch}.safetensors", {"model": states[-1], "model_config": as_dict(config)})
    return states


def test_average_is_the_mean_of_floats_and_the_last_of_counters(tmp_path):
    states = make_epochs(tmp_path, 4)
    model, last = load_model(select_checkpoints(tmp_path, None, 3))
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            expected = np.mean([s[name].numpy().astype(np.float64) for s in states[1:]], axis=0)
            np.testing.assert_allclose(value.numpy(), expected, atol=1e-7)
        else:
            assert value == 4
    assert not model.training and last["model_config"]["vocab_size"] == 9
    one, _ = load_model(select_checkpoints(tmp_path, 2, 1))
    assert all(torch.equal(v, states[1][k]) for k, v in one.state_dict().items())


def test_average_of_half_precision_is_float32():
    average = average_states([{"w": torch.tensor([1.0], dtype=torch.float16)}, {"w": torch.tensor([2.0])}])
    assert average["w"].dtype == torch.float32 and average["w"] == 1.5


@pytest.mark.parametrize("epoch, avg", [(9, 1), (2, 3), (2, 0)])
def test_missing_epochs_are_named(tmp_path, epoch, avg):
    make_epochs(tmp_path, 2)
    with pytest.raises(ValueError, match="epochs up to"):
        select_checkpoints(tmp_path, epoch, avg)


def test_damaged_foreign_and_missing_files_give_one_clear_line(tmp_path):
    make_epochs(tmp_path, 1)
    whole = (tmp_path / "epoch-1.safetensors").read_bytes()
    cases = {"cut.pt": whole[: len(whole) // 2], "empty.pt": b"", "text.pt": b"hello\n" * 50}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    for name in (*cases, "other.pt", "none.pt"):
        with pytest.raises(ValueError, match=name) as error:
            load_checkpoint(tmp_path / name)
        assert "\n" not in str(error.value)


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_malicious_pickle_is_refused_unexecuted(tmp_path):
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Attack(tmp_path / "harmed")))
    torch.save({"json": "{}", "tensors": [Attack(tmp_path / "harmed")]}, tmp_path / "zip.pt")
    for name in ("raw.pt", "zip.pt"):
        with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "harmed").exists()
    pickle.loads((tmp_path / "raw.pt").read_bytes())
    assert (tmp_path / "harmed").exists()  # the attack is a live one
