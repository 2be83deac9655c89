"""Model directories with bytes or values changed at random are read, or raise an error that names the file."""

import json
import shutil
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.formats.model_dir import read_model
from hainan_k2.formats.precision import PRECISIONS
from tests.formats.small_models import change, refused


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["config.json", "model.safetensors"]),
    st.sampled_from(PRECISIONS),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.binary(max_size=12)), max_size=3),
    st.floats(0.9, 1),
    st.booleans(),
)
def test_bytes_changed_at_random(written, tmp_path_factory, name, precision, changes, keep, head):
    folder = written / "fuzz"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(written / precision, folder)
    before = (folder / name).read_bytes()
    content = bytearray(before)
    for position, dropped, inserted in changes:
        # Half of them within the header of the weights.
        start = int(position * (3000 if head else len(content)))
        content[start : start + dropped] = inserted
    content = bytes(content[: int(keep * len(content)) if not head else len(content)])
    if name == "config.json":
        (folder / name).write_bytes(content)
    else:
        change(folder, name, content)
    try:
        read_model(folder)
    except ValueError as error:
        assert str(folder) in str(error)
    (folder / name).write_bytes(content)
    if content != before and name != "config.json":
        shutil.copy(written / precision / "config.json", folder)
        refused(folder, "damaged or of another model")


NASTY = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1,
        3,
        10**9,
        10**30,
        0.5,
        -2.5,
        float("nan"),
        float("inf"),
        "",
        "x",
        "9" * 50,
        [],
        [1],
        [[]],
        {},
        {"a": 1},
    ]
).map(deepcopy)  # a later draw may change what is there


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_values_of_the_config_changed_at_random(written, tmp_path_factory, data):
    folder = written / "int8"
    config = json.loads((folder / "config.json").read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        part = data.draw(st.sampled_from([config, config["model"], config["model"], config["features"]]))
        if isinstance(part, dict) and part:
            part[data.draw(st.sampled_from(sorted(part)))] = data.draw(NASTY)
    other = written / "values"
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(folder, other)
    (other / "config.json").write_text(json.dumps(config))
    try:
        read_model(other)
    except ValueError as error:
        assert str(other) in str(error) and "\n" not in str(error)


def test_a_config_without_tokens_is_refused(written):
    """{} as the model stands for the defaults, whose vocab_size training replaces."""
    other = written / "no-tokens"
    shutil.copytree(written / "int8", other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model": {}}))
    with pytest.raises(ValueError, match="vocab_size is 0: a model has blank and at least one token"):
        read_model(other)
