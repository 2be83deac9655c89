"""Time and peak memory of the training losses, forward and backward.

    python hainan_k2/bench.py loss --frames 25,50,100,200,400,800,1600 --out-dir exp/bench-loss

Two families of cases, each compared with its own reference:
- from encoder and predictor outputs to gradients, joint network included: full-k2 (the reference; without k2
  full-torch), full-torch, and pruned-S, i.e. simple loss, band of S and pruned loss;
- from logits to their gradient: loss-k2 and loss-torch against log-softmax, i.e. log_softmax and gather.

Memory is the peak above the inputs. Writes bench-loss.json and a log-log plot bench-loss.png with fitted
exponents.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import torch

from hainan_k2 import fsa
from hainan_k2.bench.measure import measure
from hainan_k2.config import ModelConfig, fail, option, parse
from hainan_k2.device import pick_device
from hainan_k2.fsa.losses.backends import find_backend
from hainan_k2.model.joiner import Joiner

FIT_FROM = 100  # frames; shorter utterances are mostly overhead


@dataclass(frozen=True)
class BenchConfig:
    """What `bench.py loss` measures: every method at every combination of sizes."""

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
    threads: int = option(0, "CPU threads, 0: as many as torch likes", at_least=0, at_most=1024)
    repeats: int = option(5, "runs that the median is of, after one to warm up", at_least=1)
    max_gib: float = option(4.0, "leave out cases that would take more memory than this", above=0)
    device: str = option("auto", "cpu, cuda or auto")
    out_dir: str = option("exp/bench-loss", "where bench-loss.json and bench-loss.png go")

    def __post_init__(self):
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
    method: str
    batch: int
    frames: int
    labels: int
    vocab: int

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        return self.batch, self.frames, self.labels, self.vocab

    def bytes_needed(self, config: BenchConfig) -> float:
        """A rough guess: of a joint mostly the hidden layer, three times; of logits alone, these and three more."""
        band = int(self.method[7:]) if self.method.startswith("pruned") else self.labels + 1
        joint = self.method.startswith(("pruned", "full"))
        numbers = 3.5 * config.joiner_dim if joint else 5 * (self.vocab + len(config.durations))
        return 4.0 * self.batch * self.frames * band * numbers


def make_step(case: Case, config: BenchConfig, device: torch.device) -> Callable[[], object]:
    """One forward and backward pass, inputs made beforehand; its gradients are dropped."""
    torch.manual_seed(0)
    batch, frames, labels, vocab = case.sizes
    durations = config.durations
    targets = torch.randint(1, vocab, (batch, labels), device=device)
    lens = torch.full((batch,), frames, device=device), torch.full((batch,), labels, device=device)
    kind, _, variant = case.method.partition("-")
    if kind in ("log", "loss"):
        logits = torch.randn(batch, frames, labels + 1, vocab + len(durations), device=device, requires_grad=True)
        if kind == "loss":
            return lambda: torch.autograd.grad(fsa.tdt_loss(logits, targets, *lens, durations, backend=variant), logits)
        index = targets[:, None, :, None].expand(-1, frames, -1, -1)

        def log_softmax():
            log_probs = logits.log_softmax(-1)
            loss = log_probs[..., 0].sum() + log_probs[:, :, :labels].gather(-1, index).sum()
            return torch.autograd.grad(loss, logits)

        return log_softmax

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
    wanted = [encoded, predicted, *joiner.parameters()]

    def full_loss():
        enc, pred = joiner.project_encoder(encoded), joiner.project_predictor(predicted)
        logits = joiner.logits(enc.unsqueeze(2), pred.unsqueeze(1))
        return fsa.tdt_loss(logits, targets, *lens, durations, backend=variant)

    def pruned_loss():
        simple, occupancy = fsa.tdt_loss_simple(simple_am(encoded), simple_lm(predicted), targets, *lens, durations)
        band = int(variant)
        bounds = fsa.tdt_prune_bounds(occupancy, *lens, durations, band)
        enc, pred = joiner.project_encoder(encoded), joiner.project_predictor(predicted)
        logits = joiner.logits(enc.unsqueeze(2), fsa.tdt_prune(pred, bounds, band))
        return 0.5 * simple + fsa.tdt_loss_pruned(logits, targets, bounds, *lens, durations)

    if kind == "full":
        return lambda: torch.autograd.grad(full_loss(), wanted)
    wanted += [*simple_am.parameters(), *simple_lm.parameters()]
    return lambda: torch.autograd.grad(pruned_loss(), wanted)


def reference_of(method: str, methods: Sequence[str]) -> str | None:
    """The method of the same family that ratios are taken to."""
    if method.startswith("lo"):
        return "log-softmax" if "log-softmax" in methods else None
    return next((name for name in ("full-k2", "full-torch") if name in methods), None)


def add_ratios(rows: list[dict]) -> None:
    """Give every row its time and memory over those of its reference at the same sizes, if measured."""

    def key(row: dict, method: str) -> tuple:
        return method, row["batch"], row["frames"], row["labels"], row["vocab"]

    known = {key(row, row["method"]): row for row in rows}
    for row in rows:
        reference = known.get(key(row, reference_of(row["method"], [r["method"] for r in rows]) or ""))
        for name in ("seconds", "bytes"):
            row[name + "_ratio"] = row[name] / reference[name] if reference else None


def exponents(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Of every method: slopes of log time and log memory against log T, from FIT_FROM frames on."""
    fits: dict[str, dict[str, float]] = {}
    first = {k: rows[0][k] for k in ("batch", "labels", "vocab")} if rows else {}
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [r for r in rows if r["method"] == method and r["frames"] >= FIT_FROM]
        own = [r for r in own if all(r[k] == v for k, v in first.items())]
        if len(own) >= 2:
            fits[method] = {name: _slope([(r["frames"], r[name]) for r in own]) for name in ("seconds", "bytes")}
    return fits


def _slope(points: Sequence[tuple[float, float]]) -> float:
    xs, ys = zip(*((math.log(x), math.log(y)) for x, y in points))
    mx, my = statistics.fmean(xs), statistics.fmean(ys)
    return sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / sum((x - mx) ** 2 for x in xs)


def plot(rows: list[dict], fits: dict[str, dict[str, float]], title: str, path: Path) -> None:
    """Time and memory against T, log-log."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), constrained_layout=True)
    for axis, name, unit, label in zip(axes, ("seconds", "bytes"), (1.0, 2**20), ("seconds", "peak MiB")):
        for method in dict.fromkeys(row["method"] for row in rows):
            points = sorted((r["frames"], r[name] / unit) for r in rows if r["method"] == method)
            power = f" ~ T^{fits[method][name]:.2f}" if method in fits else ""
            axis.loglog(*zip(*points), marker="o", markersize=3, label=method + power)
        axis.set(xlabel="encoder frames T", ylabel=label)
        axis.grid(True, which="both", alpha=0.25)
        axis.legend(fontsize=7)
    figure.suptitle(title)
    figure.savefig(path, dpi=150)


_HEADER = "method          B     T    U     V   seconds  ratio       MiB  ratio"


def _line(row: dict) -> str:
    ratios = [f"{row[k]:6.3f}" if row[k] is not None else "     -" for k in ("seconds_ratio", "bytes_ratio")]
    return (
        f"{row['method']:12s}{row['batch']:5d}{row['frames']:6d}{row['labels']:5d}{row['vocab']:6d}"
        f"{row['seconds']:10.4f} {ratios[0]}{row['bytes'] / 2**20:10.1f} {ratios[1]}"
    )


def run(config: BenchConfig, device: torch.device) -> list[dict]:
    """Measure every case, print and return a row of each; name and leave out what needs too much memory."""
    rows: list[dict] = []
    print(_HEADER)
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
            print(_line(rows[-1]), flush=True)
    return rows


def _runs(method: str, device: torch.device) -> bool:
    """Whether the method's backend is there; says so if not."""
    try:
        find_backend(method.partition("-")[2] if method.endswith("-k2") else "auto", device)
    except ValueError as error:
        print(f"{method}: left out, {error}")
        return False
    return True


def main(argv: Sequence[str] | None = None) -> None:
    (config,) = parse(argv, __doc__.splitlines()[0], BenchConfig)
    try:
        device = pick_device(config.device)
        config = replace(config, methods=tuple(m for m in config.methods if _runs(m, device)))
        out_dir = Path(config.out_dir)
        out_dir.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        fail(str(error))
    if config.threads:
        torch.set_num_threads(config.threads)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, threads: {torch.get_num_threads()}"
    title = f"{name}, torch {torch.__version__}"
    print(title)
    rows = run(config, device)
    fits = exponents(rows)
    for method, fit in fits.items():
        print(f"{method}: time ~ T^{fit['seconds']:.2f}, memory ~ T^{fit['bytes']:.2f} from T = {FIT_FROM} on")
    report = {"device": title, "options": asdict(config), "rows": rows, "exponents": fits}
    (out_dir / "bench-loss.json").write_text(json.dumps(report, indent=1) + "\n")
    plot(rows, fits, title, out_dir / "bench-loss.png")
    print(f"wrote {out_dir / 'bench-loss.json'} and {out_dir / 'bench-loss.png'}")
