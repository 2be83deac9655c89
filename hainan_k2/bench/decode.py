"""Speed, latency and memory of every decoding method: `python hainan_k2/bench.py decode`.

For every batch size and method it prints the seconds of the encoder and of the search, search time as a percentage of
encoder time, the latency of a batch, the throughput in seconds of audio per second, and the peak memory of the search.
--wer adds a plot of WER over throughput.
"""

from __future__ import annotations

import itertools
import json
import pathlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Optional

import torch
from torch import Tensor

from hainan_k2.bench.decode_report import Timing, mean_interval, plot, read_wer, table
from hainan_k2.bench.measure import describe
from hainan_k2.bench.memory import peak, watch_peak
from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import PRESETS, ModelConfig, option
from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.device import pick_device
from hainan_k2.files.atomic import write_atomic
from hainan_k2.formats.checkpoint import load_model, select_checkpoints
from hainan_k2.frames import FEATURE_FRAME_SHIFT
from hainan_k2.model.hainan import Hainan
from hainan_k2.search import METHODS, SearchConfig, choose_methods
from hainan_k2.stopwatch import Stopwatch


@dataclass(frozen=True)
class DecodeBenchConfig:
    """Options of `bench.py decode`."""

    help_title = "benchmark options"

    exp_dir: str = option("", "experiment folder of a trained model; without: random weights")
    cuts: str = option("", "lhotse cuts to decode, .jsonl.gz; without: random features")
    preset: str = option("S", "size of the random model", list(PRESETS))
    vocab_size: int = option(500, "tokens V of the random model", at_least=2)
    seconds: float = option(15.0, "length of the longest random utterance; the shortest has 60 % of it", above=0)
    method: tuple[str, ...] = option(("all",), "methods, comma between: all, or of " + " ".join(METHODS))
    batch_sizes: tuple[int, ...] = option((1, 8, 32, 64), "utterances in a batch, comma between", at_least=1)
    repeats: int = option(5, "timed runs, after one to warm up", at_least=1)
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda if available")
    threads: int = option(0, "CPU threads, 0: torch's default", at_least=0, at_most=1024)
    wer: str = option("", "summary-*.json of decode.py, for a plot of WER over throughput")
    out_dir: str = option("bench", "folder for bench-decode.json and bench-decode.png")

    def __post_init__(self) -> None:
        if not self.batch_sizes:
            raise ValueError("--batch-sizes has no value")


def run(config: DecodeBenchConfig, options: SearchConfig) -> list[Timing]:
    """Measure, print the table and write bench-decode.json. Raises ValueError where options or files do not fit."""
    methods, device = choose_methods(config.method), pick_device(config.device)
    wer = read_wer(config.wer) if config.wer else {}
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.exp_dir:
        model, _ = load_model(select_checkpoints(pathlib.Path(config.exp_dir), None, 1))
    else:
        model = random_model(config.preset, config.vocab_size)
    count = max(config.batch_sizes)
    audio = read_features(config.cuts, model, count) if config.cuts else noise(config.seconds, model, count)
    out_dir = pathlib.Path(config.out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)

    kind = "trained" if config.exp_dir else "random"
    print(f"{kind} model on {describe(device)}, torch {torch.__version__}")
    timings = measure(model.to(device).eval(), audio, methods, config.batch_sizes, config.repeats, options)
    print(table(timings))
    report = {"device": describe(device), "options": asdict(config), "timings": [asdict(x) for x in timings]}
    write_atomic(out_dir / "bench-decode.json", json.dumps(report, indent=1) + "\n")
    if wer:
        plot(timings, wer, out_dir / "bench-decode.png")
    return timings


def main(argv: Optional[Sequence[str]] = None) -> None:
    description = "Speed, latency and memory of every decoding method."
    config, options = parse(argv, description, DecodeBenchConfig, SearchConfig)
    with errors_in_one_line():
        run(config, options)


def random_model(preset: str, vocab_size: int, seed: int = 0) -> Hainan:
    """An untrained model that emits about as many tokens as a trained one, so that searches do realistic work.

    Its best token and duration change from frame to frame, and blank is best on half of the frames.
    """
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
    """`count` utterances of random features (T, F), from `seconds` down to 60 % of it."""
    lengths = torch.linspace(1.0, 0.6, count) * seconds / FEATURE_FRAME_SHIFT
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(int(n), model.config.num_mel_bins, generator=generator) for n in lengths]


def read_features(cuts: str, model: Hainan, count: int) -> list[Tensor]:
    """Features (T, F) of the first `count` utterances, repeated from the first where there are fewer."""
    data = EvaluationData(cuts, DataConfig(num_workers=0), model.config)
    utterances = (row[:n] for batch in data for row, n in zip(batch.features, batch.lens.tolist()))
    features = list(itertools.islice(utterances, count))
    if not features:
        raise ValueError(f"{cuts} holds no cuts")
    return list(itertools.islice(itertools.cycle(features), count))


@torch.no_grad()
def measure(
    model: Hainan,
    audio: Sequence[Tensor],
    methods: Sequence[str],
    sizes: Iterable[int],
    repeats: int,
    options: SearchConfig,
) -> list[Timing]:
    """Time the encoder and every method on the first `size` utterances of `audio` (T, F), for each of `sizes`.

    Every repeat runs all methods, so that load from other programs affects them alike.
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
                before = None if repeat else watch_peak(device)  # it slows the search down: in the warm-up only
                with watch.section(name):
                    hypotheses = METHODS[name].function(model, encoder_out, encoder_lens, options)
                if not repeat:
                    peaks[name] = None if before is None else peak(device) - before
                    tokens[name] = sum(len(hypothesis.tokens) for hypothesis in hypotheses)
            for name in seconds if repeat else ():
                seconds[name].append(watch.seconds[name])
        audio_seconds = int(lens.sum()) * FEATURE_FRAME_SHIFT
        encoder = mean_interval(seconds["encoder"])
        for name in methods:
            search = mean_interval(seconds[name])
            timings.append(
                Timing(name, size, audio_seconds, *encoder, *search, tokens[name] / audio_seconds, peaks[name])
            )
    return timings
