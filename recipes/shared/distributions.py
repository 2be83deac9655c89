"""The distributions of a transducer with its predictor (AR) and without (NAR), on a set of cuts, one JSON object.

    python recipes/shared/distributions.py --exp-dir exp --cuts cuts_test.jsonl.gz --out distributions.json

zero_ar, zero_nar      share of the tokens of ar-greedy, of nar-greedy, whose duration is 0
p_zero                 mean probability of duration 0 at the tokens of ar-greedy, with the predictor
entropy_ar, _nar       mean entropy, in nats, of the token distributions at the tokens of ar-greedy
top1, top2, top5, top10  share of the tokens of ar-greedy that are among the k most probable of the NAR distribution
same_step              share of the steps of ar-greedy, blanks included, with the token and the movement of NAR
distance               token errors of nar-greedy against ar-greedy, as a share of its tokens
accepted               steps of ar-greedy per round of speculative decoding (search/speculative.py)

A CTC model has none of these: its object is empty.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from kaldialign import edit_distance
from torch import Tensor

from hainan_k2.cli import errors_in_one_line, parse, start_logging
from hainan_k2.config import BLANK, option
from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.files.atomic import write_atomic
from hainan_k2.formats.checkpoint import load_model, select_checkpoints
from hainan_k2.inference.engine import encode_batch
from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS
from hainan_k2.model.hainan import Hainan
from hainan_k2.search import METHODS, SearchConfig
from hainan_k2.search.emissions import Frames
from hainan_k2.search.speculative import Draft

logger = logging.getLogger("distributions")
TOP = (1, 2, 5, 10)
OPTIONS = SearchConfig()


@dataclass(frozen=True)
class DistributionConfig:
    exp_dir: str = option("exp", "experiment folder of train.py")
    cuts: str = option("", "lhotse cuts, .jsonl.gz")
    out: str = option("", "JSON file to write")

    help_title = "input and output"


@dataclass(frozen=True)
class Step:
    """A step of ar-greedy: at `frame`, after `labels` labels, it takes `token` and moves on by `moved` frames."""

    frame: int
    labels: int
    token: int
    duration: int
    moved: int


class Sums:
    """Sums over utterances of everything that the figures are ratios of."""

    def __init__(self) -> None:
        self.of: defaultdict[str, float] = defaultdict(float)

    def add(self, **values: float) -> None:
        for name, value in values.items():
            self.of[name] += value

    def figures(self) -> dict[str, float]:
        of, tokens = self.of, max(1, self.of["tokens"])
        shares = ("zero_ar", "p_zero", "entropy_ar", "entropy_nar", *(f"top{k}" for k in TOP), "distance")
        figures = {name: of[name] / tokens for name in shares}
        figures["zero_nar"] = of["zero_nar"] / max(1, of["tokens_nar"])
        figures["same_step"] = of["same_step"] / max(1, of["steps"])
        figures["accepted"] = of["steps"] / max(1, of["rounds"])
        return figures


def walk(tokens: Tensor, durations: Tensor, values: tuple[int, ...]) -> list[Step]:
    """The steps of greedy search over the AR distributions (T, U + 1, V) and (T, U + 1, D) of its own result.

    `values` are the durations of the model. The walk ends as the search does, also where a frame has max_symbols
    tokens.
    """
    best, steps = tokens.argmax(-1).tolist(), durations.argmax(-1).tolist()
    frame, labels, on_frame, path = 0, 0, 0, []
    while frame < len(best):
        token, duration = best[frame][labels], values[steps[frame][labels]]
        full = token != BLANK and duration == 0 and on_frame + 1 >= OPTIONS.max_symbols
        moved = max(1, duration) if token == BLANK or full else duration
        path.append(Step(frame, labels, token, duration, moved))
        on_frame = 0 if moved else on_frame + 1
        frame, labels = frame + moved, labels + (token != BLANK)
        if labels == len(best[0]):  # a label more than the search found: rounding decided otherwise
            logger.warning("a step at frame %d differs from ar-greedy's", frame)
            break
    return path


def rounds(path: list[Step], draft: Draft, num_frames: int) -> int:
    """Rounds of speculative decoding that accept this path."""
    done = count = 0
    while done < len(path):
        count += 1
        for row in draft.steps(path[done].frame, num_frames):
            step = path[done]
            done += 1
            if (step.token, step.moved) != (draft.token[row], draft.moved[row]) or done == len(path):
                break
    return count


@torch.no_grad()
def describe(model: Hainan, frames: Tensor, sums: Sums) -> None:
    """Add an utterance: encoder output (T, C)."""
    lens = torch.tensor([len(frames)])
    ar, nar = (METHODS[name].function(model, frames[None], lens, OPTIONS)[0] for name in ("ar-greedy", "nar-greedy"))
    enc = model.joiner.project_encoder(frames)
    pred = model.joiner.project_predictor(model.predictor(torch.tensor([ar.ids or (BLANK,)])))[0, : len(ar.ids) + 1]
    tokens, durations = model.joiner.log_probs(enc[:, None], pred[None])  # (T, U + 1, V), (T, U + 1, D)
    plain, _ = model.joiner.log_probs(enc)
    draft = Draft.of(model, Frames.pack(frames[None], lens).map(model.joiner.project_encoder))
    path = walk(tokens, durations, model.durations)
    for step in path:
        same = (step.token, step.moved) == (draft.token[step.frame], draft.moved[step.frame])
        sums.add(steps=1, same_step=same)
        if step.token == BLANK:
            continue
        own, alone = tokens[step.frame, step.labels], plain[step.frame]
        rank = int((alone > alone[step.token]).sum())
        sums.add(tokens=1, zero_ar=step.duration == 0, **{f"top{k}": rank < k for k in TOP})
        sums.add(entropy_ar=entropy(own), entropy_nar=entropy(alone))
        if model.durations[0] == 0:
            sums.add(p_zero=float(durations[step.frame, step.labels, 0].exp()))
    sums.add(tokens_nar=len(nar.tokens), zero_nar=sum(token.duration == 0 for token in nar.tokens))
    sums.add(distance=edit_distance(list(ar.ids), list(nar.ids))["total"], rounds=rounds(path, draft, len(frames)))


def entropy(log_probs: Tensor) -> float:
    """Entropy in nats of log-probabilities (V,)."""
    return float(-(log_probs.exp() * log_probs).sum())


def main(argv: Optional[list[str]] = None) -> None:
    (config,) = parse(argv, "Describe the AR and NAR distributions of a model.", DistributionConfig)
    start_logging()
    with errors_in_one_line():
        if not config.cuts or not config.out:
            raise ValueError("--cuts and --out are required")
        model, _ = load_model(select_checkpoints(Path(config.exp_dir), None, 1))
        sums = Sums()
        if model.config.objective != "ctc":
            data = EvaluationData(config.cuts, DataConfig(num_workers=0), model.config)
            for batch in data:
                encoded, lens = encode_batch(model, batch, DEFAULT_WINDOWS)
                for frames, length in zip(encoded, lens.tolist()):
                    describe(model, frames[:length], sums)
        figures = sums.figures() if model.config.objective != "ctc" else {}
        write_atomic(config.out, json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
