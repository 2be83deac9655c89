"""The examples in the docstrings of model/, fsa/losses/ and fsa/lattices/ run and print what they claim."""

import doctest
import importlib
from pathlib import Path

import pytest
import torch

import hainan_k2
from hainan_k2 import fsa
from tests.oracles.lm import SYMBOLS, DictionaryLm

k2 = pytest.importorskip("k2")

ROOT = Path(hainan_k2.__file__).parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for room in ("model", "fsa/losses", "fsa/lattices")
    for path in sorted((ROOT / "hainan_k2" / room).glob("*.py"))
    if ">>>" in path.read_text()
]


def names():
    """Random inputs under the names that the examples use: B = 2, T = 6, U = 2, V = 7, D = 3."""
    durations, frame_lens = (0, 1, 2), torch.tensor([6, 5])
    log_probs = [torch.randn(2, 6, size).log_softmax(-1) for size in (7, 3)]
    return {
        **{name: getattr(fsa, name) for name in fsa.__all__},
        **{"torch": torch, "k2": k2, "durations": durations, "frame_lens": frame_lens, "pieces": SYMBOLS},
        **{"logits": torch.randn(2, 6, 3, 7 + 3), "am": torch.randn(2, 6, 7 + 3), "lm": torch.randn(2, 3, 7 + 3)},
        **{"targets": torch.tensor([[1, 2], [3, 0]]), "target_lens": torch.tensor([2, 1])},
        **{"token_log_probs": log_probs[0], "duration_log_probs": log_probs[1]},
        "lattice": fsa.nar_lattice(*log_probs, frame_lens, durations),
    }


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    DictionaryLm({(word,): (-1.0, -0.5) for word in ("<s>", "</s>", "<unk>", *SYMBOLS[2:])}).write(tmp_path / "lm.arpa")
    result = doctest.testmod(importlib.import_module(name), extraglobs=names())
    assert result.attempted and not result.failed
