"""What the README shows is true: its code runs, its table lists every method."""

import re

import pytest
import torch

from hainan_k2 import METHODS
from tests.toy import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_lists_every_method():
    rows = re.findall(r"^\| `([a-z][a-z-]*)` \|.*\|(.*)\|$", TEXT, flags=re.M)
    assert {name: bool(k2.strip()) for name, k2 in rows} == {m.name: m.needs_k2 for m in METHODS.values()}


def test_the_examples_run():
    frames = torch.tensor([20, 15])
    names = {"token_log_probs": torch.randn(2, 20, 30).log_softmax(-1), "frame_lens": frames, "durations": range(9),
             "duration_log_probs": torch.randn(2, 20, 9).log_softmax(-1)}
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)
    assert len(blocks) == 2
    exec(blocks[0], names)
    assert torch.isfinite(names["loss"]) and names["logits"].grad.abs().sum() > 0
    pytest.importorskip("k2")
    exec(blocks[1], names)
    assert len(names["hypotheses"]) == 2
