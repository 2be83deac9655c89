"""A drawing of the lattice of one utterance."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import torch

from hainan_k2.data.batch import Batch
from hainan_k2.fsa.k2 import why_no_k2
from hainan_k2.fsa.lattices.composition import compose
from hainan_k2.fsa.lattices.draw import draw_lattice
from hainan_k2.fsa.lattices.nar_lattice import nar_lattice
from hainan_k2.inference.engine import encode_batch
from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS, Windows
from hainan_k2.model.hainan import Hainan
from hainan_k2.search import DecodingResources
from hainan_k2.text.tokenizer import Tokenizer


@torch.no_grad()
def draw_utterance(
    model: Hainan,
    batches: Iterable[Batch],
    name: str,
    folder: Path,
    tokenizer: Tokenizer,
    resources: DecodingResources,
    windows: Windows = DEFAULT_WINDOWS,
) -> Path:
    """Draw the NAR lattice of utterance `name` to FOLDER/lattice-NAME.svg, or .txt without graphviz; returns the path.

    The lattice is made from the encoder alone, composed with `resources.grammar` if there is one.

    Raises:
      ValueError: if k2 cannot be used, no batch has the utterance, or the grammar accepts none of its paths.
    """
    if why_no_k2():
        raise ValueError(f"drawing a lattice needs k2: {why_no_k2()}")
    device = next(model.parameters()).device
    for batch in batches:
        if name not in batch.ids:
            continue
        row, batch = batch.ids.index(name), batch.to(device)
        encoder_out, lens = (x[row : row + 1] for x in encode_batch(model, batch, windows))
        log_probs = model.joiner.log_probs(model.joiner.project_encoder(encoder_out), None)
        grammar = resources.grammar
        lattice = nar_lattice(*log_probs, lens, model.durations, vocabulary=grammar.tokens() if grammar else None)
        if grammar:
            lattice = compose(lattice, grammar)
        folder.mkdir(parents=True, exist_ok=True)
        return draw_lattice(
            lattice,
            folder / ("lattice-" + re.sub(r"[^\w.-]", "_", name)),
            tokenizer.pieces,
            outputs=grammar.outputs if grammar and grammar.transduces else None,
        )
    raise ValueError(f"no utterance {name!r} to draw among the cuts")
