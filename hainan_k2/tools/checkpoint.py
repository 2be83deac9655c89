"""Checkpoints: written atomically, loaded without executing anything, averaged."""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any, Optional

import torch

from hainan_k2.config import ModelConfig, from_dict
from hainan_k2.model.hainan import Hainan
from hainan_k2.tools.jsonl import read_lines

LAST = "last.pt"


def _pack(value: Any, tensors: list[torch.Tensor]) -> Any:
    """`value` as JSON can hold it, its tensors put aside."""
    if isinstance(value, torch.Tensor):
        tensors.append(value)
        return {"tensor": len(tensors) - 1}
    if isinstance(value, dict):
        return {"dict": [[key, _pack(item, tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_pack(item, tensors) for item in value]
    return value


def _unpack(value: Any, tensors: list[torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if isinstance(value, dict):
        return tensors[value["tensor"]] if "tensor" in value else {k: _unpack(v, tensors) for k, v in value["dict"]}
    return value


def save_checkpoint(path: pathlib.Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values) beside `path`, flush it to the disk, then rename: a kill leaves the old
    file or the new one. Plain values travel as JSON, for torch 1.13's safe loader refuses even a float."""
    tensors: list[torch.Tensor] = []
    text = json.dumps(_pack(state, tensors))
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as stream:
        torch.save({"json": text, "tensors": tensors}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def load_checkpoint(path: pathlib.Path) -> dict[str, Any]:
    """A checkpoint's plain values and tensors, on the CPU; ValueError where the file is not one of ours."""
    if not path.is_file():
        raise ValueError(f"no checkpoint {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds on truncated, foreign or malicious files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is not a readable checkpoint: {reason}") from None
    if not isinstance(state, dict) or set(state) != {"json", "tensors"}:
        raise ValueError(f"{path} was not written by hainan_k2/train.py")
    return _unpack(json.loads(state["json"]), state["tensors"])


def epoch_checkpoints(exp_dir: pathlib.Path) -> dict[int, pathlib.Path]:
    """{epoch: path} of the epoch-N.pt files of an experiment, ascending."""
    found = {}
    for path in exp_dir.glob("epoch-*.pt"):
        match = re.fullmatch(r"epoch-(\d+)\.pt", path.name)
        if match:
            found[int(match.group(1))] = path
    return dict(sorted(found.items()))


def select_checkpoints(exp_dir: pathlib.Path, epoch: Optional[int], avg: int) -> list[pathlib.Path]:
    """The `avg` epoch checkpoints that end with `epoch` (None: the newest); ValueError says what is missing."""
    found = epoch_checkpoints(exp_dir)
    if not found:
        raise ValueError(f"no checkpoint epoch-N.pt in {exp_dir}: train one with `hainan-train --exp-dir {exp_dir} "
                         "...`")
    last = max(found) if epoch is None else epoch
    wanted = range(last - avg + 1, last + 1)
    missing = [n for n in wanted if n not in found]
    if avg < 1 or missing:
        raise ValueError(f"--epoch {last} --avg {avg} needs {avg} epochs up to {last}; {exp_dir} has {list(found)}")
    return [found[n] for n in wanted]


def best_checkpoints(exp_dir: pathlib.Path, epoch: Optional[int], count: int) -> list[pathlib.Path]:
    """The `count` epoch checkpoints of least dev WER (AR) up to `epoch` (None: any), ascending by epoch; of equal ones
    the later. ValueError says what is missing."""
    found = epoch_checkpoints(exp_dir)
    wers = {line["epoch"]: line["dev_wer"] for line in read_lines(exp_dir / "epochs.jsonl")}
    known = [n for n in found if n in wers and (epoch is None or n <= epoch)]
    if not 1 <= count <= len(known):
        raise ValueError(f"--best --avg {count}: {exp_dir} has {len(known)} such checkpoints with a dev WER in "
                         "epochs.jsonl")
    best = sorted(known, key=lambda n: (wers[n], -n))[:count]
    return [found[n] for n in sorted(best)]


def epoch_of(path: pathlib.Path) -> int:
    """The N of epoch-N.pt."""
    return int(path.stem.partition("-")[2])


def average_states(states: Iterable[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of floating-point tensors, in float64; other tensors are the last state's."""
    total: dict[str, torch.Tensor] = {}
    count = 0
    for state in states:
        count += 1
        for name, value in state.items():
            total[name] = total[name] + value.double() if value.is_floating_point() and name in total else (
                value.double() if value.is_floating_point() else value)
    return {name: (value / count).float() if value.is_floating_point() else value for name, value in total.items()}


def load_model(paths: list[pathlib.Path]) -> tuple[Hainan, dict[str, Any]]:
    """The average of checkpoints as a model in eval mode, and the last checkpoint's other contents."""
    last: dict[str, Any] = {}

    def states():
        for path in paths:
            last.update(load_checkpoint(path))
            yield last["model"]

    average = average_states(states())
    model = Hainan(from_dict(ModelConfig, last["model_config"]))
    model.load_state_dict(average)
    return model.eval(), last
