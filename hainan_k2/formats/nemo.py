"""Weights of NeMo's FastConformer-TDT models, mapped to our names.

In NeMo the blank is the last token; here it is token 0, which is epsilon in k2. NeMo's token i is our token i + 1, in
the embedding and in the output of the joint network.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from torch import Tensor

from hainan_k2.config import ModelConfig
from hainan_k2.files.torch_archive import read_torch_archive
from hainan_k2.model.hainan import Hainan

_TRAINING_ONLY = ("simple_am.", "simple_lm.")
_WEIGHTS = "model_weights.ckpt"


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The weights of a .nemo archive, or of the .ckpt in it, by NeMo's names; float arrays are float32.

    Nothing in the file is executed. Raises ValueError, in one line that names the file, where it is missing, damaged or
    contains anything but tensors.
    """
    if path.suffix == ".nemo":
        try:
            with tarfile.open(path, "r:") as archive:
                members = [m for m in archive.getmembers() if m.name.rpartition("/")[2] == _WEIGHTS]
                regular = len(members) == 1 and members[0].isreg() and not members[0].issparse()
                content = archive.extractfile(members[0]) if regular else None
                if content is None:
                    raise ValueError(f"{path} does not hold one file {_WEIGHTS}")
                state = read_torch_archive(cast(BinaryIO, content), f"{path}: {_WEIGHTS}")
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror or error}") from None
        except tarfile.TarError as error:
            raise ValueError(f"{path} is not an uncompressed tar archive, as .nemo files are: {error}") from None
    else:
        state = read_torch_archive(path)
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    tensors = state.items() if isinstance(state, dict) else ()
    if not tensors or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in tensors):
        raise ValueError(f"{path} holds no dict of tensors")
    return {name: (value.float() if value.is_floating_point() else value).numpy() for name, value in tensors}


def model_config(config: dict[str, Any], weights: dict[str, np.ndarray]) -> ModelConfig:
    """Our ModelConfig for NeMo's keys; sizes that the keys do not state follow from the shapes of the weights.

    Raises ValueError for missing keys, and for a blank that is not the last token.
    """
    required = (
        "vocab",
        "blank",
        "d_model",
        "heads",
        "layers",
        "mel",
        "subsampling_channels",
        "conv_kernel",
        "pred_hidden",
        "joint_hidden",
        "durations",
    )
    missing = [key for key in required if key not in config]
    if missing:
        raise ValueError(f"config lacks {', '.join(missing)}; it has {', '.join(sorted(config))}")
    if config["blank"] != config["vocab"]:
        raise ValueError(f"blank {config['blank']} is expected to be the last token, {config['vocab']}")
    linear1 = weights.get("encoder.layers.0.feed_forward1.linear1.weight")
    return ModelConfig(
        vocab_size=config["vocab"] + 1,
        durations=tuple(config["durations"]),
        num_mel_bins=config["mel"],
        d_model=config["d_model"],
        num_layers=config["layers"],
        num_heads=config["heads"],
        ffn_factor=4 if linear1 is None else linear1.shape[0] // config["d_model"],
        conv_kernel=config["conv_kernel"],
        subsampling_channels=config["subsampling_channels"],
        xscaling=bool(config.get("xscaling", True)),
        bias="encoder.layers.0.self_attn.linear_q.bias" in weights,
        predictor="lstm",
        predictor_dim=config["pred_hidden"],
        predictor_layers=config.get("pred_layers", 1),
        joiner_dim=config["joint_hidden"],
        ctc="ctc.weight" in weights,
    )


def our_name(name: str) -> str:
    """Our name of a weight, e.g. `predictor.lstm.X` for `decoder.prediction.dec_rnn.lstm.X`."""
    for theirs, ours in (
        ("decoder.prediction.dec_rnn.lstm.", "predictor.lstm."),
        ("decoder.prediction.embed.", "predictor.embed."),
        ("joint.enc.", "joiner.enc."),
        ("joint.pred.", "joiner.pred."),
    ):
        if name.startswith(theirs):
            return ours + name[len(theirs) :]
    if name.startswith("joint.joint_net."):  # index 1, or 2 where a dropout layer stands before it
        return "joiner.out." + name.rsplit(".", 1)[-1]
    return name


def blank_first(rows: Tensor, blank: int) -> Tensor:
    """Move row `blank` (the last token) to the front; the rows after it (durations) stay."""
    return torch.cat([rows[blank : blank + 1], rows[:blank], rows[blank + 1 :]])


def model_from_arrays(config: dict[str, Any], weights: dict[str, np.ndarray]) -> Hainan:
    """A Hainan model in eval mode with NeMo's weights; the heads that only training uses keep their initial values.

    Args:
      config: vocab, blank, d_model, heads, layers, mel, subsampling_channels, conv_kernel, pred_hidden, joint_hidden,
        durations, and optionally xscaling and pred_layers.
      weights: float arrays by NeMo's names (encoder.*, decoder.*, joint.*).
    Raises:
      ValueError: naming every weight that is missing, not part of the model, or of another shape.
    """
    model = Hainan(model_config(config, weights))
    state = {our_name(name): torch.from_numpy(np.array(array)) for name, array in weights.items()}
    for name in ("predictor.embed.weight", "joiner.out.weight", "joiner.out.bias"):
        if name in state:
            state[name] = blank_first(state[name], config["blank"])
    wanted = model.state_dict()
    problems = [f"{n} is missing" for n in wanted if n not in state and not n.startswith(_TRAINING_ONLY)]
    problems += [f"{n} is not part of the model" for n in state if n not in wanted]
    problems += [
        f"{n} is {tuple(a.shape)}, not {tuple(wanted[n].shape)}"
        for n, a in state.items()
        if n in wanted and a.shape != wanted[n].shape
    ]
    if problems:
        raise ValueError(f"{len(problems)} weights do not fit: " + "; ".join(problems[:10]))
    model.load_state_dict(state, strict=False)
    return model.eval()
