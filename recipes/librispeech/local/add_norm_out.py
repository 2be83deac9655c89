"""Adds norm_out, the layer norm at the end of every FastConformer layer, to a model that was trained without it.

    python recipes/librispeech/local/add_norm_out.py --model DIR --cuts dev.jsonl.gz --out-dir NEW

The demo's small model learns within minutes only without norm_out, which NeMo's encoder always has. Gains and biases of
each channel are the ones that change the frames of some recordings least in the mean square. A few more epochs,
`train.py --init-from NEW --norm-out true`, restore the error rate.
"""

from __future__ import annotations

import pathlib
import sys
from dataclasses import dataclass, replace

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[3])

import torch
from lhotse import CutSet
from torch import Tensor

from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import option
from hainan_k2.formats.model_dir import find_model, read_model, write_model
from hainan_k2.formats.weights import without_training_heads
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.model.hainan import Hainan


@dataclass(frozen=True)
class AddNormConfig:
    model: str = option("", "model directory without norm_out")
    cuts: str = option("", "lhotse cuts of a few minutes of speech")
    count: int = option(40, "how many of the cuts", at_least=1)
    out_dir: str = option("", "the model directory to make")

    def __post_init__(self) -> None:
        if not self.model or not self.cuts or not self.out_dir:
            raise ValueError("--model, --cuts and --out-dir are required")


@torch.no_grad()
def with_norm_out(model: Hainan, features: list[Tensor]) -> Hainan:
    """The model with norm_out, fitted to the frames of `features`, each (T, F); ValueError for a model that has it."""
    if model.config.norm_out:
        raise ValueError("the model has norm_out already")
    frames: list[list[Tensor]] = [[] for _ in model.encoder.layers]
    hooks = [
        layer.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out[0]))
        for layer, seen in zip(model.encoder.layers, frames)
    ]
    for one in features:
        model.encoder(one[None], torch.tensor([len(one)]))
    for hook in hooks:
        hook.remove()
    new = without_training_heads(Hainan(replace(model.config, norm_out=True))).eval()
    new.load_state_dict(model.state_dict(), strict=False)
    for layer, seen in zip(new.encoder.layers, frames):
        wanted = torch.cat(seen)
        normed = torch.nn.functional.layer_norm(wanted, wanted.shape[1:])
        spread = normed - normed.mean(0)
        gain = (spread * wanted).mean(0) / spread.square().mean(0).clamp(min=1e-6)
        layer.norm_out.weight.copy_(gain)
        layer.norm_out.bias.copy_(wanted.mean(0) - gain * normed.mean(0))
    return new


def main() -> None:
    (config,) = parse(None, "Add norm_out to a trained model.", AddNormConfig)
    with errors_in_one_line():
        model, tokenizer, provenance = read_model(find_model(config.model))
        spec = FeatureSpec.of_model(model.config)
        cuts = list(CutSet.from_file(config.cuts))[: config.count]
        new = with_norm_out(model, [spec.compute(cut.load_audio()[0]) for cut in cuts])
        write_model(pathlib.Path(config.out_dir), new, tokenizer, "float32", {**provenance, "norm_out": "added"})


if __name__ == "__main__":
    main()
