"""How fast every decoding method is: `python hainan_k2/bench.py decode`.

For every batch size and method: seconds of search and of the encoder before it, search as a share of the
encoder, latency of a batch, throughput in seconds of audio per second, peak memory of the search. With --wer,
a plot of error against speed.
"""

from __future__ import annotations

import itertools
import json
import pathlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev

import torch
from scipy.stats import t
from torch import Tensor

from hainan_k2.bench.memory import peak, watch_peak
from hainan_k2.config import PRESETS, ModelConfig, fail, option, parse
from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.device import pick_device
from hainan_k2.formats.checkpoint import load_model, select_checkpoints
from hainan_k2.frames import FEATURE_FRAME_SHIFT
from hainan_k2.model.hainan import Hainan
from hainan_k2.search import METHODS, SearchConfig, choose_methods
from hainan_k2.stopwatch import Stopwatch


@dataclass(frozen=True)
class Timing:
    """One method at one batch size. Seconds are means over the repeats for one batch; +- is the 95 % interval
    of the mean (Student's t), 0 of a single repeat. `peak_mb` is what the search added at its peak, None
    where nobody counts it."""

    method: str
    batch_size: int
    audio_seconds: float
    encoder_seconds: float
    encoder_interval: float
    search_seconds: float
    search_interval: float
    tokens_per_second: float
    peak_mb: float | None

    @property
    def share(self) -> float:
        """Search time over encoder time."""
        return self.search_seconds / self.encoder_seconds

    @property
    def latency(self) -> float:
        """Seconds until a batch is decoded."""
        return self.encoder_seconds + self.search_seconds

    @property
    def throughput(self) -> float:
        """Seconds of audio per second."""
        return self.audio_seconds / self.latency


@dataclass(frozen=True)
class BenchConfig:
    """What `bench.py decode` measures."""

    exp_dir: str = option("", "experiment with a trained model; without: random weights")
    cuts: str = option("", "lhotse cuts to decode, .jsonl.gz; without: noise")
    preset: str = option("S", "size of a random model", list(PRESETS))
    vocab_size: int = option(500, "V of a random model", at_least=2)
    seconds: float = option(15.0, "longest utterance of noise; the shortest has 60 % of it", above=0)
    method: tuple[str, ...] = option(("all",), "methods, comma between: all, or of " + " ".join(METHODS))
    batch_sizes: tuple[int, ...] = option((1, 8, 32, 64), "utterances in a batch, comma between", at_least=1)
    repeats: int = option(5, "runs of each, after one to warm up", at_least=1)
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda where there is one")
    threads: int = option(0, "CPU threads; 0: torch's own choice", at_least=0, at_most=1024)
    wer: str = option("", "summary-*.json of decode.py: draws WER against throughput")
    out_dir: str = option("bench", "folder for bench-decode.json and bench-decode.png")

    def __post_init__(self):
        if not self.batch_sizes:
            raise ValueError("--batch-sizes has no value")


def run(config: BenchConfig, options: SearchConfig) -> list[Timing]:
    """Measure, print and write; ValueError on what cannot be measured."""
    methods, device = choose_methods(config.method), pick_device(config.device)
    wer = read_wer(config.wer) if config.wer else {}
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.exp_dir:
        model, _ = load_model(select_checkpoints(pathlib.Path(config.exp_dir), None, 1))
    else:
        model = random_model(config.preset, config.vocab_size)
    source, what = (read_features, config.cuts) if config.cuts else (noise, config.seconds)
    audio = source(what, model, max(config.batch_sizes))
    out_dir = pathlib.Path(config.out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)

    kind = "trained" if config.exp_dir else "random"
    print(f"{kind} model on {describe(device)}, torch {torch.__version__}")
    timings = measure(model.to(device).eval(), audio, methods, config.batch_sizes, config.repeats, options)
    print(table(timings))
    report = {"device": describe(device), "options": asdict(config), "timings": [asdict(x) for x in timings]}
    (out_dir / "bench-decode.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if wer:
        plot(timings, wer, out_dir / "bench-decode.png")
    return timings


def main(argv: Sequence[str] | None = None) -> None:
    description = "Speed, latency and memory of every decoding method."
    config, options = parse(argv, description, BenchConfig, SearchConfig)
    try:
        run(config, options)
    except (ValueError, OSError) as error:
        fail(str(error))


def read_wer(path: str) -> dict[str, float]:
    """Word error rate (fraction) of every method in a summary of decode.py."""
    try:
        methods = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["methods"]
        return {method: float(figures["wer"]) for method, figures in methods.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(f"{path} is not a summary-*.json of decode.py") from None


def random_model(preset: str, vocab_size: int, seed: int = 0) -> Hainan:
    """A model that was never trained but is about as talkative as a trained one: its decisions change from
    frame to frame, and blank is best on half of all frames, so that searches have real work to do."""
    torch.manual_seed(seed)
    model = Hainan(ModelConfig.preset(preset, vocab_size=vocab_size)).eval()
    with torch.no_grad():
        features, lens = torch.randn(4, 800, model.config.num_mel_bins), torch.full((4,), 800)
        encoder_out, _ = model.encoder(features, lens)
        projected = model.joiner.project_encoder(encoder_out)
        model.joiner.enc.weight.div_(projected.std())
        model.joiner.enc.bias.sub_(projected.mean((0, 1))).div_(projected.std())
        model.joiner.out.weight.mul_(8.0)
        model.joiner.out.bias[vocab_size:] -= 0.3 * (torch.tensor(model.durations) - 3.0).square()
        tokens = model.joiner.logits(model.joiner.project_encoder(encoder_out), None)[..., :vocab_size]
        model.joiner.out.bias[0] += (tokens[..., 1:].amax(-1) - tokens[..., 0]).median()
    return model


def noise(seconds: float, model: Hainan, count: int) -> list[Tensor]:
    """`count` utterances of random features (T, F), the longest first, the shortest 60 % of it."""
    lengths = torch.linspace(1.0, 0.6, count) * seconds / FEATURE_FRAME_SHIFT
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(int(n), model.config.num_mel_bins, generator=generator) for n in lengths]


def read_features(cuts: str, model: Hainan, count: int) -> list[Tensor]:
    """Features (T, F) of the first `count` utterances, again from the first where there are fewer."""
    data = EvaluationData(cuts, DataConfig(num_workers=0), model.config)
    utterances = (row[:n] for batch in data for row, n in zip(batch.features, batch.lens.tolist()))
    found = list(itertools.islice(utterances, count))
    if not found:
        raise ValueError(f"{cuts} holds no cuts")
    return list(itertools.islice(itertools.cycle(found), count))


@torch.no_grad()
def measure(
    model: Hainan,
    audio: Sequence[Tensor],
    methods: Sequence[str],
    sizes: Iterable[int],
    repeats: int,
    options: SearchConfig,
) -> list[Timing]:
    """Time the encoder and every method on batches of the first `size` utterances of `audio` (T, F).

    The methods take turns within a repeat, so that a slow spell of the machine hits all of them.
    """
    device, timings = next(model.parameters()).device, []
    for size in sizes:
        features = torch.nn.utils.rnn.pad_sequence(list(audio[:size]), batch_first=True).to(device)
        lens = torch.tensor([len(row) for row in audio[:size]], device=device)
        seconds: dict[str, list[float]] = {name: [] for name in ("encoder", *methods)}
        tokens, peaks = {}, {}
        for repeat in range(repeats + 1):
            watch = Stopwatch(synchronise=True)
            with watch.section("encoder"):
                encoder_out, encoder_lens = model.encoder(features, lens)
            for name in methods:
                before = None if repeat else watch_peak(device)  # slows the search: only while warming up
                with watch.section(name):
                    found = METHODS[name].function(model, encoder_out, encoder_lens, options)
                if not repeat:
                    peaks[name] = None if before is None else peak(device) - before
                    tokens[name] = sum(len(hypothesis.tokens) for hypothesis in found)
            for name in seconds if repeat else ():
                seconds[name].append(watch.seconds[name])
        spoken = int(lens.sum()) * FEATURE_FRAME_SHIFT
        encoder = mean_interval(seconds["encoder"])
        for name in methods:
            search = mean_interval(seconds[name])
            timings.append(Timing(name, size, spoken, *encoder, *search, tokens[name] / spoken, peaks[name]))
    return timings


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half its 95 % confidence interval."""
    if len(values) == 1:
        return values[0], 0.0
    return mean(values), t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5


def describe(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def table(timings: Sequence[Timing]) -> str:
    """One line per method and batch size."""
    lines = [
        f"{'method':12s} {'batch':>5s} {'encoder ms':>16s} {'search ms':>16s} {'% of encoder':>12s} "
        f"{'latency ms':>10s} {'x real time':>11s} {'tokens/s':>8s} {'peak MB':>8s}"
    ]
    for x in timings:
        encoder, search = (
            f"{1000 * value:.1f} +-{1000 * spread:.1f}"
            for value, spread in (
                (x.encoder_seconds, x.encoder_interval),
                (x.search_seconds, x.search_interval),
            )
        )
        memory = "-" if x.peak_mb is None else f"{x.peak_mb:.1f}"
        lines.append(
            f"{x.method:12s} {x.batch_size:5d} {encoder:>16s} {search:>16s} {100 * x.share:12.2f} "
            f"{1000 * x.latency:10.1f} {x.throughput:11.1f} {x.tokens_per_second:8.2f} {memory:>8s}"
        )
    return "\n".join(lines)


def plot(timings: Sequence[Timing], wer: dict[str, float], path: pathlib.Path) -> None:
    """WER against throughput at the largest batch size, a point per method; ValueError if there is none."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    largest = max(timing.batch_size for timing in timings)
    points = [x for x in timings if x.batch_size == largest and x.method in wer]
    if not points:
        measured = ", ".join(sorted({x.method for x in timings}))
        raise ValueError(f"--wer tells about {', '.join(wer)}, of which none was measured: {measured}")
    figure, axes = pyplot.subplots(figsize=(6, 4))
    for x in points:
        axes.plot(x.throughput, 100 * wer[x.method], "o")
        axes.annotate(x.method, (x.throughput, 100 * wer[x.method]), (5, 5), textcoords="offset points")
    axes.set_xlabel(f"seconds of audio per second, batch of {largest}")
    axes.set_ylabel("WER %")
    axes.margins(0.2)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
