"""Checkpoints: the complete state of training in a container (hainan_k2.files.container); saved, loaded, chosen."""

from __future__ import annotations

import logging
import pathlib
import re
from collections.abc import Iterator
from typing import Any, Optional, Union

import torch

from hainan_k2.config import ModelConfig, from_dict
from hainan_k2.files.container import SUFFIX, Kind, read_container, write_container
from hainan_k2.files.jsonl import read_lines
from hainan_k2.formats.average import average_states
from hainan_k2.formats.weights import model_of_weights
from hainan_k2.model.hainan import Hainan

KIND = Kind("checkpoint", "hainan-train")
LAST = f"last{SUFFIX}"

logger = logging.getLogger(__name__)


def epoch_name(epoch: Union[int, str]) -> str:
    """The file name of the checkpoint at the end of an epoch, from 1."""
    return f"epoch-{epoch}{SUFFIX}"


def _pack(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """`value` as JSON, with tensors replaced by their names and collected in `tensors`.

    The name of a tensor is the path of keys to it, joined by "/".
    """
    if isinstance(value, torch.Tensor):
        if name in tensors:
            raise ValueError(f"two tensors of the checkpoint are named {name}")
        tensors[name] = value
        return {"tensor": name}
    below = f"{name}/" if name else ""
    if isinstance(value, dict):
        return {"dict": [[key, _pack(item, f"{below}{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_pack(item, f"{below}{i}", tensors) for i, item in enumerate(value)]
    return value


def _unpack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The inverse of `_pack`."""
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if isinstance(value, dict):
        return tensors[value["tensor"]] if "tensor" in value else {k: _unpack(v, tensors) for k, v in value["dict"]}
    return value


def save_checkpoint(path: pathlib.Path, state: dict[str, Any]) -> None:
    """Write `state`: tensors and plain values in nested dicts, lists and tuples (read again as lists).

    Writes completely or not at all. Raises OSError with the path.
    """
    tensors: dict[str, torch.Tensor] = {}
    facts = {"state": _pack(state, "", tensors)}
    write_container(path, KIND, tensors, facts)


def load_checkpoint(path: pathlib.Path) -> dict[str, Any]:
    """The state in a checkpoint, tensors on the CPU; ValueError where it is missing, damaged or of another program."""
    if not path.is_file():
        raise ValueError(f"no checkpoint {path}")
    tensors, facts = read_container(path, KIND)
    try:
        state = _unpack(facts["state"], tensors)
    except (LookupError, TypeError, ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise ValueError(f"{path} is not complete: make it again with {KIND.maker}")
    return state


def load_newest(exp_dir: pathlib.Path) -> Optional[tuple[pathlib.Path, dict[str, Any]]]:
    """The path and state of the newest intact checkpoint of an experiment; None where it has no checkpoint.

    Damaged ones are named in warnings. Raises ValueError where none is intact.
    """
    paths = [path for path in (exp_dir / LAST, *reversed(epoch_checkpoints(exp_dir).values())) if path.exists()]
    complaints = []
    for path in paths:
        try:
            state = load_checkpoint(path)
        except ValueError as error:
            complaints.append(str(error))
            continue
        for complaint in complaints:
            logger.warning("%s; going on from %s", complaint, path)
        return path, state
    if complaints:
        raise ValueError(f"no checkpoint of {exp_dir} is intact: " + "; ".join(complaints))
    old = old_checkpoints(exp_dir)
    if old:
        raise ValueError(
            f"{exp_dir} has checkpoints of an older version of hainan_k2 ({', '.join(old[:3])}), which "
            "this one cannot read: train into another --exp-dir, or remove them"
        )
    return None


def old_checkpoints(exp_dir: pathlib.Path) -> list[str]:
    """Names of checkpoints that versions before 0.2 wrote."""
    return sorted(path.name for path in exp_dir.glob("*.pt") if re.fullmatch(r"last|epoch-\d+", path.stem))


def epoch_checkpoints(exp_dir: pathlib.Path) -> dict[int, pathlib.Path]:
    """{epoch: path} of the epoch-N.safetensors files of an experiment, ascending."""
    paths = {}
    for path in exp_dir.glob(f"epoch-*{SUFFIX}"):
        match = re.fullmatch(r"epoch-(\d+)", path.stem)
        if match:
            paths[int(match.group(1))] = path
    return dict(sorted(paths.items()))


def select_checkpoints(exp_dir: pathlib.Path, epoch: Optional[int], avg: int) -> list[pathlib.Path]:
    """The checkpoints of `avg` consecutive epochs up to `epoch` (None: the newest); ValueError names missing ones."""
    checkpoints = epoch_checkpoints(exp_dir)
    if not checkpoints:
        old = old_checkpoints(exp_dir)
        if old:
            raise ValueError(
                f"{exp_dir} has only checkpoints of an older version of hainan_k2 ({', '.join(old[:3])}), "
                "which this one cannot read: train it again"
            )
        raise ValueError(
            f"no checkpoint {epoch_name('N')} in {exp_dir}: train one with `hainan-train --exp-dir {exp_dir} ...`"
        )
    last = max(checkpoints) if epoch is None else epoch
    wanted = range(last - avg + 1, last + 1)
    missing = [n for n in wanted if n not in checkpoints]
    if avg < 1 or missing:
        raise ValueError(
            f"--epoch {last} --avg {avg} needs {avg} epochs up to {last}; {exp_dir} has {list(checkpoints)}"
        )
    return [checkpoints[n] for n in wanted]


def best_checkpoints(exp_dir: pathlib.Path, epoch: Optional[int], count: int) -> list[pathlib.Path]:
    """The `count` checkpoints of lowest dev WER (AR) up to `epoch` (None: any), ascending by epoch.

    Of equal ones the later epochs are taken. Raises ValueError where there are fewer.
    """
    checkpoints = epoch_checkpoints(exp_dir)
    wers = {
        line["epoch"]: line["dev_wer"] for line in read_lines(exp_dir / "epochs.jsonl") if line["dev_wer"] is not None
    }
    known = [n for n in checkpoints if n in wers and (epoch is None or n <= epoch)]
    if not 1 <= count <= len(known):
        raise ValueError(
            f"--best --avg {count}: {exp_dir} has {len(known)} such checkpoints with a dev WER in epochs.jsonl"
        )
    best = sorted(known, key=lambda n: (wers[n], -n))[:count]
    return [checkpoints[n] for n in sorted(best)]


def epoch_of(path: pathlib.Path) -> int:
    """The N of epoch-N.safetensors."""
    return int(path.stem.partition("-")[2])


def model_of_state(state: dict[str, Any], path: pathlib.Path) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    """The configuration and weights of the model in a checkpoint; ValueError where they are missing or malformed."""
    config, weights, provenance = (state.get(key, {}) for key in ("model_config", "model", "provenance"))
    sound = all(isinstance(part, dict) for part in (config, weights, provenance, state.get("progress", {})))
    sound = sound and isinstance(provenance.get("options", {}), dict) and bool(config)
    if not sound or not all(isinstance(n, str) and isinstance(v, torch.Tensor) for n, v in weights.items()):
        raise ValueError(f"{path} holds no model")
    try:
        return from_dict(ModelConfig, {str(name): value for name, value in config.items()}), weights
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def load_model(paths: list[pathlib.Path]) -> tuple[Hainan, dict[str, Any]]:
    """The average of checkpoints as a model in eval mode, on the CPU, and the state in the last checkpoint.

    Raises ValueError where a checkpoint is damaged, or has another model than the first.
    """
    last: dict[str, Any] = {}
    dimensions: list[tuple[ModelConfig, dict[str, torch.Size]]] = []

    def states() -> Iterator[dict[str, torch.Tensor]]:
        for path in paths:
            last.clear()  # one at a time: each is several times as large as the model
            last.update(load_checkpoint(path))
            config, weights = model_of_state(last, path)
            dimensions.append((config, {name: value.shape for name, value in weights.items()}))
            if dimensions[-1] != dimensions[0]:
                raise ValueError(f"{paths[0]} and {path} are of different models: they have no average")
            yield weights

    average = average_states(states())
    model = model_of_weights(dimensions[0][0], average, paths[-1], "its own dimensions", training_heads=True)
    return model.eval(), last
