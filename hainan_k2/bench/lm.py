"""Time and memory of decoding with an n-gram language model, viterbi-lm: `python hainan_k2/bench.py lm`.

The input is simulated: log-probabilities of sentences of a Markov chain, whose tokens are spread over the frames and
are mostly more likely than their competitors. The language model is trained by kaldingram on other sentences of the
chain, or read from --arpa. A step consists of the search, the lattice, its best path and the posteriors of its tokens;
memory is the peak above log-probabilities and language model.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

import torch

from hainan_k2.bench.measure import Step, describe, measure
from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import option
from hainan_k2.device import pick_device
from hainan_k2.files.atomic import write_atomic
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.fsa.lattices.lm_lattice import lm_lattice
from hainan_k2.fsa.lattices.paths import hypotheses_from_lattice, shortest_path
from hainan_k2.result import Hypothesis


@dataclass(frozen=True)
class LmBenchConfig:
    """Options of `bench.py lm`."""

    help_title = "benchmark options"

    arpa: str = option("", "language model over tokens named 1, 2, ...; without: one trained on random sentences")
    order: int = option(3, "order of the model that is trained", at_least=1, at_most=20)
    sentences: int = option(6000, "sentences to train it on", at_least=1)
    vocab: int = option(500, "tokens V, blank included", at_least=2)
    frames: int = option(200, "encoder frames T of every utterance", at_least=1)
    batch: tuple[int, ...] = option((1, 16), "utterances B, comma between", at_least=1)
    durations: tuple[int, ...] = option(tuple(range(9)), "durations in frames", at_least=0, at_most=1000)
    peak: float = option(6.0, "log-probability of a correct token above that of a random one, natural log")
    lm_scale: float = option(0.3, "weight of the language model", at_least=0)
    top_k: int = option(8, "tokens kept per frame, besides blank", at_least=1)
    lattice_beam: float = option(8.0, "as in decode.py", above=0)
    lattice_states: int = option(32, "as in decode.py", at_least=1)
    threads: int = option(1, "CPU threads", at_least=0, at_most=1024)
    repeats: int = option(5, "timed runs, after one to warm up; the median counts", at_least=1)
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda if available")
    out: str = option("", "JSON file for the results")


class Chain:
    """A random language of sentences of 5 to 60 tokens: with probability 0.5 the next token is one of 40 successors of
    the last one, else it is drawn from a Zipf distribution.

    The language is the same for every seed; the seed chooses the sentences.
    """

    def __init__(self, vocab: int, seed: int):
        rng = random.Random(0)
        self.tokens = range(1, vocab)
        self.weights = [1.0 / i for i in self.tokens]
        self.successors = {token: rng.choices(self.tokens, self.weights, k=40) for token in self.tokens}
        self.rng = random.Random(seed)

    def sentences(self) -> Iterator[list[int]]:
        """Sentences without end, as token ids."""
        while True:
            sentence = self.rng.choices(self.tokens, self.weights)
            for _ in range(self.rng.randint(4, 59)):
                if self.rng.random() < 0.5:
                    sentence.append(self.rng.choice(self.successors[sentence[-1]]))
                else:
                    sentence += self.rng.choices(self.tokens, self.weights)
            yield sentence


def train(config: LmBenchConfig, folder: Path) -> str:
    """Train a model and return its ARPA file in `folder`. Raises ValueError where kaldingram is missing or fails."""
    text, arpa = folder / "text", folder / "lm.arpa"
    sentences = Chain(config.vocab, seed=1).sentences()
    text.write_text("".join(f"{' '.join(map(str, next(sentences)))}\n" for _ in range(config.sentences)))
    command = [
        str(Path(sys.executable).with_name("kaldingram")),
        "train",
        "--ngram-order",
        str(config.order),
        "--text",
        str(text),
        "--lm",
        str(arpa),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(f"no language model: {error}; pip install kaldingram, or give --arpa") from None
    return str(arpa)


def speech(config: LmBenchConfig, batch: int, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of tokens (B, T, V) and durations (B, T, D), with one token per 2 to 5 frames, else blank."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(batch, frames, config.vocab, generator=generator)
    competitors = torch.randint(1, config.vocab, (batch, frames, 8), generator=generator)
    tokens.scatter_add_(2, competitors, config.peak * torch.rand(batch, frames, 8, generator=generator))
    durations = torch.tensor(config.durations)
    duration_scores = torch.randn(batch, frames, len(durations), generator=generator)
    chain = Chain(config.vocab, seed=2)
    for b, sentence in zip(range(batch), chain.sentences()):
        t, left = 0, list(sentence)
        while t < frames:
            step = chain.rng.randint(2, 5)
            left = left or list(next(chain.sentences()))
            tokens[b, t, left.pop(0)] += config.peak
            tokens[b, t + 1 : t + step, 0] += config.peak
            for at in range(t, min(t + step, frames)):
                duration_scores[b, at] -= (durations - (t + step - at)).abs()
            t += step
    return tokens.log_softmax(-1), duration_scores.log_softmax(-1)


def make_step(arpa: str, config: LmBenchConfig, batch: int, frames: int, device: torch.device) -> Step:
    """A function that decodes `batch` utterances of `frames` frames and returns their hypotheses."""
    lm = NgramLm.read(arpa, ["<blk>", *map(str, range(1, config.vocab))]).to(device)
    tokens, duration_scores = (scores.to(device) for scores in speech(config, batch, frames))
    lens = torch.full((batch,), frames, device=device)

    @torch.no_grad()
    def step() -> list[Hypothesis]:
        lattice = lm_lattice(
            tokens,
            duration_scores,
            lens,
            config.durations,
            [(lm, config.lm_scale)],
            config.top_k,
            config.lattice_beam,
            config.lattice_states,
        )
        return hypotheses_from_lattice(shortest_path(lattice), lens, lattice)

    return step


def run(config: LmBenchConfig) -> list[dict[str, Any]]:
    """Measure and print; returns a row for each batch size."""
    device = pick_device(config.device)
    torch.set_num_threads(config.threads)
    with tempfile.TemporaryDirectory() as folder:
        arpa = config.arpa or train(config, Path(folder))
        lm = NgramLm.read(arpa, ["<blk>", *map(str, range(1, config.vocab))])
        print(
            f"{lm.order}-gram model of {lm.num_arcs} n-grams, {lm.num_states} states; {config.frames} frames x top "
            f"{config.top_k}; {describe(device)}, torch {torch.__version__}"
        )
        print(f"{'batch':>5s} {'ms':>8s} {'ms/utterance':>12s} {'peak MB':>8s}")
        rows = []
        for batch in config.batch:
            arguments, small = (arpa, config, batch, config.frames), (arpa, config, 1, 3)
            seconds, size = measure(make_step, arguments, small, config.repeats, device)
            rows.append({"batch": batch, "seconds": seconds, "bytes": size})
            print(f"{batch:5d} {1000 * seconds:8.1f} {1000 * seconds / batch:12.1f} {size / 2**20:8.1f}", flush=True)
    if config.out:
        report = {"device": describe(device), "options": asdict(config), "ngrams": lm.num_arcs, "rows": rows}
        write_atomic(config.out, json.dumps(report, indent=1) + "\n")
    return rows


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Time and memory of decoding with an n-gram language model.", LmBenchConfig)
    with errors_in_one_line():
        run(config)
