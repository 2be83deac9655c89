"""Time and peak memory of the training losses, forward and backward.

    python hainan_k2/bench.py loss --frames 25,50,100,200,400,800,1600 --out-dir exp/bench-loss

Two families of methods, each with its own reference for ratios:
- from encoder and predictor outputs to gradients, with the joint network: full-k2 (the reference; without k2
  full-torch), full-torch, and pruned-S: simple loss, band of S label positions and pruned loss;
- from logits to their gradient: loss-k2 and loss-torch; the reference log-softmax is log_softmax and gather.

Memory is the peak above that of the inputs. The results are bench-loss.json and bench-loss.png, a plot with fitted
exponents.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Optional

import torch
from torch import Tensor

from hainan_k2 import fsa
from hainan_k2.bench.loss_report import FIT_FROM, HEADER, Row, add_ratios, exponents, line, plot
from hainan_k2.bench.measure import Step, describe, measure
from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import ModelConfig, option
from hainan_k2.device import pick_device
from hainan_k2.files.atomic import write_atomic
from hainan_k2.fsa.losses.backends import find_backend
from hainan_k2.model.joiner import Joiner


@dataclass(frozen=True)
class LossBenchConfig:
    """Options of `bench.py loss`, which measures every method at every combination of sizes."""

    help_title = "benchmark options"

    methods: tuple[str, ...] = option(
        ("full-k2", "full-torch", "pruned-3", "pruned-5", "pruned-8", "log-softmax", "loss-k2", "loss-torch"),
        "of full-k2 full-torch pruned-S log-softmax loss-k2 loss-torch",
    )
    batch: tuple[int, ...] = option((8,), "utterances B", at_least=1)
    frames: tuple[int, ...] = option((25, 50, 100, 200, 400, 800, 1600), "encoder frames T", at_least=1)
    labels: tuple[int, ...] = option((50,), "labels U", at_least=1)
    vocab: tuple[int, ...] = option((500,), "tokens V, blank included", at_least=2)
    durations: tuple[int, ...] = option(tuple(range(9)), "durations in frames", at_least=0, at_most=1000)
    encoder_dim: int = option(512, "encoder channels", at_least=1)
    predictor_dim: int = option(640, "predictor channels", at_least=1)
    joiner_dim: int = option(640, "joint channels", at_least=1)
    threads: int = option(0, "CPU threads, 0: torch's default", at_least=0, at_most=1024)
    repeats: int = option(5, "timed runs, after one to warm up; the median counts", at_least=1)
    max_gib: float = option(4.0, "GiB; cases that would need more memory are left out", above=0)
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda if available")
    out_dir: str = option("exp/bench-loss", "folder for bench-loss.json and bench-loss.png")

    def __post_init__(self) -> None:
        for name in self.methods:
            kind, _, band = name.partition("-")
            if not (kind == "pruned" and band.isdigit() and int(band) > 0) and name not in _PLAIN:
                raise ValueError(f"no method {name!r}; there are pruned-S, {', '.join(_PLAIN)}")
        for name in ("batch", "frames", "labels", "vocab"):
            if not getattr(self, name):
                raise ValueError(f"--{name} has no value")


_PLAIN = ("full-k2", "full-torch", "log-softmax", "loss-k2", "loss-torch")


@dataclass(frozen=True)
class Case:
    """A method at B utterances (`batch`), T `frames`, U `labels` and V tokens (`vocab`)."""

    method: str
    batch: int
    frames: int
    labels: int
    vocab: int

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        return self.batch, self.frames, self.labels, self.vocab

    def bytes_needed(self, config: LossBenchConfig) -> float:
        """A rough estimate: three hidden layers of the joint network, or five times the logits."""
        band = int(self.method[7:]) if self.method.startswith("pruned") else self.labels + 1
        joint = self.method.startswith(("pruned", "full"))
        numbers = 3.5 * config.joiner_dim if joint else 5 * (self.vocab + len(config.durations))
        return 4.0 * self.batch * self.frames * band * numbers


def make_step(case: Case, config: LossBenchConfig, device: torch.device) -> Step:
    """A function that makes one forward and backward pass and returns the gradients; its inputs are made here."""
    torch.manual_seed(0)
    batch, frames, labels, vocab = case.sizes
    targets = torch.randint(1, vocab, (batch, labels), device=device)
    lens = torch.full((batch,), frames, device=device), torch.full((batch,), labels, device=device)
    make = _step_from_logits if case.method in ("log-softmax", "loss-k2", "loss-torch") else _step_from_outputs
    return make(case, config, targets, lens)


def _step_from_logits(case: Case, config: LossBenchConfig, targets: Tensor, lens: tuple[Tensor, Tensor]) -> Step:
    batch, frames, labels, vocab = case.sizes
    size = batch, frames, labels + 1, vocab + len(config.durations)
    logits = torch.randn(size, device=targets.device, requires_grad=True)
    index = targets[:, None, :, None].expand(-1, frames, -1, -1)

    def loss() -> tuple[Tensor, ...]:
        backend = case.method.partition("-")[2]
        return torch.autograd.grad(fsa.tdt_loss(logits, targets, *lens, config.durations, backend=backend), logits)

    def log_softmax() -> tuple[Tensor, ...]:
        log_probs = logits.log_softmax(-1)
        total = log_probs[..., 0].sum() + log_probs[:, :, :labels].gather(-1, index).sum()
        return torch.autograd.grad(total, logits)

    return log_softmax if case.method == "log-softmax" else loss


def _step_from_outputs(case: Case, config: LossBenchConfig, targets: Tensor, lens: tuple[Tensor, Tensor]) -> Step:
    batch, frames, labels, vocab = case.sizes
    durations, device = config.durations, targets.device
    kind, _, variant = case.method.partition("-")
    model = ModelConfig(
        vocab_size=vocab,
        durations=durations,
        d_model=config.encoder_dim,
        joiner_dropout=0.0,
        predictor_dim=config.predictor_dim,
        joiner_dim=config.joiner_dim,
    )
    joiner = Joiner(model).to(device)
    simple_am = torch.nn.Linear(config.encoder_dim, vocab + len(durations)).to(device)
    simple_lm = torch.nn.Linear(config.predictor_dim, vocab + len(durations)).to(device)
    encoded = torch.randn(batch, frames, config.encoder_dim, device=device, requires_grad=True)
    predicted = torch.randn(batch, labels + 1, config.predictor_dim, device=device, requires_grad=True)
    inputs = [encoded, predicted, *joiner.parameters()]

    def full_loss() -> Tensor:
        enc, pred = joiner.project_encoder(encoded), joiner.project_predictor(predicted)
        logits = joiner.logits(enc.unsqueeze(2), pred.unsqueeze(1))
        return fsa.tdt_loss(logits, targets, *lens, durations, backend=variant)

    def pruned_loss() -> Tensor:
        simple, occupancy = fsa.tdt_loss_simple(simple_am(encoded), simple_lm(predicted), targets, *lens, durations)
        band = int(variant)
        bounds = fsa.tdt_prune_bounds(occupancy, *lens, durations, band)
        enc, pred = joiner.project_encoder(encoded), joiner.project_predictor(predicted)
        logits = joiner.logits(enc.unsqueeze(2), fsa.tdt_prune(pred, bounds, band))
        return 0.5 * simple + fsa.tdt_loss_pruned(logits, targets, bounds, *lens, durations)

    if kind == "full":
        return lambda: torch.autograd.grad(full_loss(), inputs)
    inputs += [*simple_am.parameters(), *simple_lm.parameters()]
    return lambda: torch.autograd.grad(pruned_loss(), inputs)


def run(config: LossBenchConfig, device: torch.device) -> list[Row]:
    """Measure every case and print its row; returns all rows. Prints which cases it leaves out for lack of memory."""
    rows: list[Row] = []
    print(HEADER)
    for sizes in product(config.batch, config.frames, config.labels, config.vocab):
        for method in config.methods:
            case = Case(method, *sizes)
            if case.bytes_needed(config) > config.max_gib * 2**30:
                gib = case.bytes_needed(config) / 2**30
                print(f"{method} at B, T, U, V = {sizes}: left out, {gib:.1f} GiB exceed --max-gib")
                continue
            small = Case(method, 2, 60, 20, 50)
            seconds, size = measure(make_step, (case, config), (small, config), config.repeats, device)
            rows.append({**asdict(case), "seconds": seconds, "bytes": size})
            add_ratios(rows)
            print(line(rows[-1]), flush=True)
    return rows


def _available(method: str, device: torch.device) -> bool:
    """Whether the method's backend is available; if not, prints the reason."""
    try:
        find_backend(method.partition("-")[2] if method.endswith("-k2") else "auto", device)
    except ValueError as error:
        print(f"{method}: left out, {error}")
        return False
    return True


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Time and peak memory of the training losses, forward and backward.", LossBenchConfig)
    out_dir = Path(config.out_dir)
    with errors_in_one_line():
        device = pick_device(config.device)
        config = replace(config, methods=tuple(m for m in config.methods if _available(m, device)))
        out_dir.mkdir(parents=True, exist_ok=True)
    if config.threads:
        torch.set_num_threads(config.threads)
    title = f"{describe(device)}, torch {torch.__version__}"
    print(title)
    rows = run(config, device)
    fits = exponents(rows)
    for method, fit in fits.items():
        print(f"{method}: time ~ T^{fit['seconds']:.2f}, memory ~ T^{fit['bytes']:.2f} from T = {FIT_FROM} on")
    report = {"device": title, "options": asdict(config), "rows": rows, "exponents": fits}
    with errors_in_one_line():
        write_atomic(out_dir / "bench-loss.json", json.dumps(report, indent=1) + "\n")
        plot(rows, fits, title, out_dir / "bench-loss.png")
    print(f"wrote {out_dir / 'bench-loss.json'} and {out_dir / 'bench-loss.png'}")
