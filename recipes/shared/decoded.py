"""Decoded: what decode.py wrote for a set and a method."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hainan_k2.files.jsonl import read_lines
from hainan_k2.result import Hypothesis, Token, Word
from hainan_k2.scoring.results import file_stem, read_recogs
from hainan_k2.scoring.wer import Score, score


@dataclass(frozen=True)
class Decoded:
    """The results of a method on a set, in a folder of decode.py. `method` names swept options: sar sar_rounds=2."""

    folder: Path
    set: str
    method: str
    audio_seconds: float
    figures: dict[str, Any]  # of the method, in summary-SET.json

    @property
    def _stem(self) -> str:
        return file_stem(self.set, self.method)

    @cached_property
    def score(self) -> Score:
        """Raises ValueError or OSError where the file cannot be read."""
        return score(read_recogs(self.folder / f"recogs-{self._stem}.txt"))

    @cached_property
    def hypotheses(self) -> dict[str, Hypothesis]:
        """By utterance, tokens and words with times and confidences; of `--write jsonl`.

        Raises ValueError where the file is missing or damaged.
        """
        path = self.folder / f"{self._stem}.jsonl"
        if not path.is_file():
            raise ValueError(f"{path}: no such file: decode with --write jsonl")
        try:
            return {line["id"]: _hypothesis(line) for line in read_lines(path)}
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: not written by decode.py --write jsonl ({error!r})") from None


def _hypothesis(line: dict[str, Any]) -> Hypothesis:
    tokens = tuple(Token(**token) for token in line["tokens"])
    words = tuple(Word(**word) for word in line["words"])
    score = float("-inf") if line["score"] is None else line["score"]
    return Hypothesis(tokens, score, line["num_frames"], words, line["text"])


def read_decoded(folder: Path) -> Iterator[Decoded]:
    """The results in a folder: all sets, all methods. Raises ValueError where there are none."""
    paths = sorted(folder.glob("summary-*.json"))
    if not paths:
        raise ValueError(f"{folder}: no summary-SET.json: it is no folder of decode.py's results")
    for path in paths:
        summary = json.loads(path.read_text(encoding="utf-8"))
        for method, figures in summary["methods"].items():
            yield Decoded(folder, path.stem[len("summary-") :], method, summary["audio_seconds"], figures)
