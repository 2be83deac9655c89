"""How well the method `grammar` rejects speech that is not in its grammar.

    python hainan_k2/bench.py rejection --grammar digits --inside strings/ --outside sentences/

Every recording is searched, and its gap to the best path without grammar measured (hainan_k2.search.grammar). Printed
is the ROC, for thresholds on the gap: how much of the speech inside the grammar is rejected, how much of the speech
outside accepted. The last line has the threshold for `--false-rejection`: an option of decode.py and transcribe.py.
Choose it on recordings like those that you will decode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import torch

from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import option
from hainan_k2.frontend.audio import SAMPLING_RATE, read_audio
from hainan_k2.inference.inputs import Inputs
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.search.grammar import grammar_gaps
from hainan_k2.search.methods import METHODS
from hainan_k2.search.options import SearchConfig

RATES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # of false rejections, rows of the table


@dataclass(frozen=True)
class RejectionConfig:
    """Options of `bench.py rejection`."""

    help_title = "benchmark options"

    grammar: str = option("", "grammar, as for decode.py (required)")
    inside: tuple[str, ...] = option((), "recordings of sentences of the grammar: files and folders (required)")
    outside: tuple[str, ...] = option((), "recordings of other speech: files and folders (required)")
    model: str = option("released", "model directory; released: the one that comes with the package")
    false_rejection: float = option(0.05, "share of --inside that may be rejected", at_least=0, at_most=1)
    skip_scale: float = option(METHODS["grammar"].config().skip_scale, "as for the method grammar", at_least=0)
    token_bonus: float = option(METHODS["grammar"].config().token_bonus, "as for the method grammar")
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda where there is one")

    def __post_init__(self) -> None:
        if not (self.grammar and self.inside and self.outside):
            raise ValueError("--grammar, --inside and --outside are required: a grammar, and recordings of both kinds")


@dataclass(frozen=True)
class Roc:
    """Gaps of speech inside and outside a grammar, in nats per token; infinite where no path of the grammar fits."""

    inside: Sequence[float]
    outside: Sequence[float]

    def threshold(self, rate: float) -> float:
        """The lowest threshold that rejects at most this share of the speech inside; infinite gaps are rejected by
        every threshold."""
        ordered = sorted(self.inside)
        return ordered[max(0, len(ordered) - 1 - math.floor(rate * len(ordered) + 1e-9))]

    def false_rejection(self, threshold: float) -> float:
        """The share of the speech inside that the threshold rejects."""
        return sum(gap > threshold or gap == math.inf for gap in self.inside) / len(self.inside)

    def false_acceptance(self, threshold: float) -> float:
        """The share of the speech outside that it accepts."""
        return sum(gap <= threshold and gap < math.inf for gap in self.outside) / len(self.outside)

    def area(self) -> float:
        """The probability that speech outside has a larger gap than speech inside, equal ones counting half."""
        wins = sum((a < b) + 0.5 * (a == b) for a in self.inside for b in self.outside)
        return wins / (len(self.inside) * len(self.outside))


def measure(recognizer: Recognizer, names: Sequence[str], config: RejectionConfig) -> list[float]:
    """The gaps of all recordings that the names lead to. ValueError for one that cannot be read or is too long."""
    resources, method = recognizer.resources(grammar=config.grammar), METHODS["grammar"]
    options = method.config(skip_scale=config.skip_scale, token_bonus=config.token_bonus)
    inputs = list(Inputs(names, lambda path: False))
    failures = [item.failure for item in inputs if item.failure]
    if failures or not inputs:
        raise ValueError(failures[0] if failures else f"{','.join(names)}: no audio files")
    gaps = []
    for item in inputs:
        samples = read_audio(item.path)
        seconds = len(samples) / SAMPLING_RATE
        if seconds > method.limit:
            raise ValueError(f"{item.path}: {seconds:.0f} s, the method grammar searches {method.limit:g} s at once")
        gaps += grammar_gaps(recognizer.model, *recognizer.encode([samples]), options, resources.require("grammar"))
    return gaps


def run(config: RejectionConfig) -> list[str]:
    """The lines of the table."""
    torch.set_num_threads(1)
    recognizer = Recognizer.load(config.model, config.device)
    roc = Roc(measure(recognizer, config.inside, config), measure(recognizer, config.outside, config))
    lines = [
        f"{config.grammar}: {len(roc.inside)} recordings inside, {len(roc.outside)} outside; area under the ROC "
        f"{roc.area():.4f}",
        "threshold  inside, rejected %  outside, accepted %",
    ]
    default = SearchConfig().grammar_threshold
    for threshold in sorted({*(roc.threshold(rate) for rate in RATES), default}, reverse=True):
        lines.append(_row(roc, threshold) + "  (default)" * (threshold == default))
    chosen = roc.threshold(config.false_rejection)
    return [*lines, f"--grammar-threshold {chosen:.3f} rejects at most {100 * config.false_rejection:g} % inside"]


def _row(roc: Roc, threshold: float) -> str:
    rejected, accepted = roc.false_rejection(threshold), roc.false_acceptance(threshold)
    return f"{threshold:9.3f} {100 * rejected:19.1f} {100 * accepted:20.1f}"


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Measure the rejection of speech outside a grammar.", RejectionConfig)
    with errors_in_one_line():
        print("\n".join(run(config)))
