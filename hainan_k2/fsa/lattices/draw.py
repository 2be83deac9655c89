"""Drawings of lattices: an SVG by graphviz's `dot` if it is installed, otherwise a text with one line per arc."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

import torch

from hainan_k2.fsa.checks import check_lattice
from hainan_k2.fsa.k2 import Fsa, load_k2

logger = logging.getLogger(__name__)

MAX_DRAWN = 1500  # arcs; dot needs minutes for more, and nobody can read the drawing
SECONDS = 60.0  # time limit of dot


@dataclass(frozen=True)
class DrawnArc:
    """An arc as it is drawn."""

    source: int
    target: int
    text: str  # token and frame, or duration
    score: float
    posterior: float


def draw_lattice(
    lattice: Fsa,
    path: Union[str, Path],
    pieces: Sequence[str],
    index: int = 0,
    min_posterior: float = 0.01,
    outputs: Optional[Sequence[str]] = None,
) -> Path:
    """Write PATH.svg, or PATH.txt without `dot` or for a drawing that is too large, and return the path written.

    Args:
      lattice: k2.Fsa (FsaVec), from nar_lattice or a composition with it.
      path: without suffix.
      pieces: text of every token.
      index: which FSA of the FsaVec.
      min_posterior: leave out arcs with a lower posterior.
      outputs: texts of the aux_labels.
    Raises:
      ValueError: if there is no such FSA or if it is empty; for a single FSA and one that is not topologically sorted.
    """
    check_lattice(lattice)
    if not 0 <= index < lattice.shape[0]:
        raise ValueError(f"there is no lattice {index} among {lattice.shape[0]}")
    arcs, final = _drawn(lattice, index, pieces, min_posterior, outputs)
    if not arcs:
        raise ValueError(f"lattice {index} is empty: there is nothing to draw")
    caption = f"{len(arcs)} arcs of posterior {min_posterior:g} or more"
    path, dot = Path(path), shutil.which("dot")
    svg = path.with_name(path.name + ".svg")
    if dot and len(arcs) <= MAX_DRAWN:
        try:
            subprocess.run(
                [dot, "-Tsvg", "-o", str(svg)],
                input=dot_source(arcs, final, caption),
                encoding="utf-8",
                check=True,
                capture_output=True,
                timeout=SECONDS,
            )
            return svg
        except (subprocess.SubprocessError, OSError) as error:
            logger.warning("dot failed, text instead: %s", str(error).splitlines()[0])
    txt = path.with_name(path.name + ".txt")
    lines = [f"# {caption}: source, target, token @ frame or duration; final state {final}\n"]
    lines += [f"{a.source} {a.target} {a.text} score {a.score:.4f} posterior {a.posterior:.4f}\n" for a in arcs]
    txt.write_text("".join(lines), encoding="utf-8")
    return txt


def _drawn(
    lattice: Fsa, index: int, pieces: Sequence[str], min_posterior: float, outputs: Optional[Sequence[str]]
) -> tuple[list[DrawnArc], int]:
    """The arcs to draw, and the final state."""
    k2 = load_k2()
    one = k2.index_fsa(lattice, torch.tensor([index], dtype=torch.int32, device=lattice.labels.device))
    if not one.num_arcs:
        return [], 0
    posterior = one.get_arc_post(use_double_scores=True, log_semiring=True).exp()
    columns = [*one.arcs.values()[:, :3].T.tolist(), one.scores.tolist(), posterior.tolist()]
    for name in ("frame", "duration", "aux_labels"):
        value = getattr(one, name, None)
        columns.append([-1] * one.num_arcs if value is None else value.tolist())
    arcs = []
    for source, target, label, score, mass, frame, duration, output in zip(*columns):
        if mass < min_posterior:
            continue
        text = "end" if label == -1 else "-" if label == 0 and frame < 0 else "blank" if label == 0 else pieces[label]
        text += f" @{frame}" * (frame >= 0) + f" d={duration}" * (duration >= 0)
        if outputs is not None and output > 0:
            text += f" : {outputs[output] or 'nothing'}"
        arcs.append(DrawnArc(source, target, text, score, mass))
    return arcs, int(one.arcs.values()[:, 1].max())


def dot_source(arcs: Sequence[DrawnArc], final: int, caption: str) -> str:
    """The drawing as input of `dot`; arcs with a higher posterior are darker."""
    lines = [
        "digraph lattice {",
        "rankdir=LR; node [shape=circle, fontsize=11]; edge [fontsize=11];",
        f"label={_quoted(caption)}; {final} [shape=doublecircle];",
    ]
    for arc in arcs:
        shade = f"gray{round(70 * (1 - min(1.0, arc.posterior)))}"
        label = _quoted(f"{arc.text}\n{arc.score:.2f}")
        lines.append(f"{arc.source} -> {arc.target} [label={label}, color={shade}, fontcolor={shade}];")
    return "\n".join([*lines, "}\n"])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
