"""Decode cuts by one method or many: `python hainan_k2/decode.py --exp-dir exp --cuts test.jsonl.gz --method all ...`.

The encoder runs once per batch, and every method searches its output. Writes recogs-, errs- and wer-summary-*.txt,
with --write also word times, and prints a line per method. The recogs grow batch by batch. A number among the search
options may have several values, with commas between: `--method viterbi-lm --lm-scale 0.1,0.2,0.3` prints three lines.

Cuts longer than --window are encoded in overlapping windows and searched in segments, as transcribe.py does: both give
the same words for the same audio. Stored features are cut into the same windows (encode_features in
inference/windows.py).

Exit codes: 0; 1 if a search failed on an utterance, all others being decoded; 2 if nothing can be decoded.
"""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Optional

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from hainan_k2.cli import fail, parse, start_logging
from hainan_k2.cluster import HELP as CLUSTER
from hainan_k2.cluster import Cluster
from hainan_k2.config import option
from hainan_k2.inference.window_sizes import WindowConfig
from hainan_k2.search.resources import ResourceConfig
from hainan_k2.search.sweep import SearchGrid
from hainan_k2.writers import WRITERS

if TYPE_CHECKING:
    from torch import Tensor

    from hainan_k2.inference.spread import Job
    from hainan_k2.model.hainan import Hainan
    from hainan_k2.search.resources import DecodingResources
    from hainan_k2.search.sweep import Row
    from hainan_k2.text.tokenizer import Tokenizer

WINDOWS = WindowConfig()


@dataclass(frozen=True)
class DecodeConfig:
    model: str = option(
        "",
        "model directory of export.py in place of --exp-dir and --lang-dir; released: the one "
        "that comes with the package",
    )
    exp_dir: str = option("exp", "experiment folder of train.py")
    epoch: Optional[int] = option(None, "last of the epoch checkpoints to average; none: the newest", at_least=1)
    avg: int = option(1, "how many epoch checkpoints to average", at_least=1)
    cuts: str = option("", "lhotse cuts to decode: .jsonl.gz, or a Shar folder")
    lang_dir: str = option("", "folder with bpe.model, of hainan-train-bpe")
    method: tuple[str, ...] = option(
        ("ar-greedy", "nar-greedy"), "methods, comma between, of the list below; all: every one that can run"
    )
    out_dir: str = option("", "where results go; default: EXP_DIR/decode, with --model ./decode")
    write: tuple[str, ...] = option((), "word times as well, of " + " ".join(WRITERS))
    max_duration: float = option(200.0, "seconds of audio in a batch, padding included", above=0)
    num_workers: int = option(1, "processes that read features; 0 reads in the main one", at_least=0, at_most=1000)
    repeats: int = option(1, "times to decode everything, for a confidence interval of the search seconds", at_least=1)
    lattices: str = option(
        "",
        "file for the lattices of all utterances, with the decoding resources: .ark and .ark.txt for Kaldi's lattice "
        "tools, .fst.ark and .fst.txt as FSTs, .pt for k2, .safetensors with a checksum; needs k2",
    )
    draw_lattice: str = option("", "id of an utterance to draw: OUT_DIR/lattice-ID.svg, .txt without graphviz")
    report: str = option(
        "",
        "HTML page to write: words and errors of all utterances, sound, spectrogram, tokens and lattice of 20, "
        "error rates of methods and speakers, calibration, speed",
    )
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda where there is one")
    dask: str = option("", CLUSTER)

    help_title, help_example = "input and output", "--exp-dir exp --lang-dir lang --cuts cuts_test.jsonl.gz"

    def __post_init__(self) -> None:
        if self.dask and self.lattices:
            raise ValueError("--lattices are written by a single process: leave out --dask")
        unknown = [kind for kind in self.write if kind not in WRITERS]
        if unknown:
            raise ValueError(f"--write {','.join(unknown)}: there are {', '.join(WRITERS)}")


def load(config: DecodeConfig) -> tuple[Hainan, Tokenizer]:
    """Load the model and its tokenizer. Raises ValueError if one is missing or they do not fit each other."""
    from hainan_k2.formats.checkpoint import load_model, select_checkpoints
    from hainan_k2.formats.model_dir import find_model, read_model
    from hainan_k2.text.tokenizer import Tokenizer

    if config.model:
        model, tokenizer, _ = read_model(find_model(config.model))
        if not config.cuts:
            raise ValueError("--cuts is required: a manifest of cuts")
        return model, tokenizer
    model, _ = load_model(select_checkpoints(pathlib.Path(config.exp_dir), config.epoch, config.avg))
    if not config.cuts or not config.lang_dir:
        raise ValueError("--cuts and --lang-dir are required: a manifest of cuts and the folder with bpe.model")
    tokenizer = Tokenizer(config.lang_dir)
    if tokenizer.vocab_size != model.vocab_size:
        raise ValueError(
            f"{config.lang_dir} has {tokenizer.vocab_size} pieces, the model {model.vocab_size}: it was "
            "trained with another --lang-dir"
        )
    return model, tokenizer


def job_of(config: DecodeConfig, rows: Sequence[Row], files: ResourceConfig, windows: WindowConfig) -> Job:
    """What the workers of a cluster load: the model that `load` loads, and the resources."""
    from hainan_k2.formats.checkpoint import select_checkpoints
    from hainan_k2.inference.spread import Job

    job = Job(tuple(rows), files, windows, device=config.device, folder=os.getcwd())
    if config.model:
        return replace(job, model=config.model)
    paths = select_checkpoints(pathlib.Path(config.exp_dir), config.epoch, config.avg)
    return replace(job, checkpoints=tuple(map(str, paths)), lang_dir=config.lang_dir)


@contextmanager
def lattice_stream(
    config: DecodeConfig, model: Hainan, rows: Sequence[Row], resources: DecodingResources
) -> Iterator[Optional[Callable[[Sequence[str], Tensor, Tensor], None]]]:
    """A context with the function that writes the lattices of a batch to --lattices; None without that option.

    The search options are those of the row whose method searches such lattices, else of all rows. Raises ValueError
    where k2 does not work, and for rows with different options.
    """
    if not config.lattices:
        yield None
        return
    from hainan_k2.fsa.lattices.store import LatticeWriter
    from hainan_k2.search.lattices import lattice_method, search_lattice

    same = [row for row in rows if row.method == lattice_method(resources, row.options.lattice)] or rows
    options = same[0].options
    if any(row.options != options for row in same):
        raise ValueError("--lattices: give every search option one value")
    with LatticeWriter(config.lattices) as writer:

        def write(names: Sequence[str], encoder_out: Tensor, lens: Tensor) -> None:
            writer.write(search_lattice(model, encoder_out, lens, options, resources), names, lens)

        yield write


def decode(config: DecodeConfig, options: Any, files: ResourceConfig, window_config: WindowConfig = WINDOWS) -> int:
    """Decode, write the results, print the table.

    Args:
      options: a SearchGrid, SearchConfig with several values for an option.
    Returns:
      How many searches of an utterance failed.
    Raises:
      ValueError: if nothing can be decoded.
    """
    from hainan_k2.data.batches import EvaluationData
    from hainan_k2.data.config import DataConfig
    from hainan_k2.device import pick_device
    from hainan_k2.formats.model_dir import find_model, read_decoding, read_own_lm
    from hainan_k2.inference.engine import decode_batches
    from hainan_k2.inference.spread import spread_cuts
    from hainan_k2.report.decoding import RecogsStream, report
    from hainan_k2.search import check_methods, choose_methods
    from hainan_k2.search.choosing import with_own_lm
    from hainan_k2.search.resources import load_resources
    from hainan_k2.search.sweep import make_rows
    from hainan_k2.stopwatch import Stopwatch

    check_methods(config.method)
    model, tokenizer = load(config)
    tokenizer.scoring("")  # an unknown normalisation is an error now, not after the search
    resources, windows = load_resources(files, tokenizer), window_config.windows()
    folder = find_model(config.model) if config.model else pathlib.Path(config.exp_dir)
    if config.model:
        resources = with_own_lm(resources, config.method, partial(read_own_lm, folder, tokenizer))
    methods = choose_methods(config.method, resources, model.config, options.lattice)
    rows = make_rows(methods, options, read_decoding(folder).settings, resources.given())
    labels = [row.label for row in rows]
    device = pick_device(config.device)
    model.to(device)
    data_config = DataConfig(max_duration=config.max_duration, num_workers=config.num_workers)
    pin = device.type == "cuda"
    data = EvaluationData(config.cuts, data_config, model.config, pin_memory=pin, longest=windows.seconds)
    out_dir = pathlib.Path(config.out_dir or ("decode" if config.model else f"{config.exp_dir}/decode"))
    set_name = pathlib.Path(config.cuts).name.split(".")[0].split("cuts_")[-1].split("shar_")[-1]
    if config.draw_lattice:
        from hainan_k2.report.draw import draw_utterance

        print(draw_utterance(model, data, config.draw_lattice, out_dir, tokenizer, resources, windows))
    seconds: dict[str, list[float]] = {name: [] for name in ("encoder", *labels)}
    with ExitStack() as stack:
        recogs = stack.enter_context(RecogsStream(out_dir, set_name, labels))
        write = stack.enter_context(lattice_stream(config, model, rows, resources))
        cluster = stack.enter_context(Cluster(config.dask)) if config.dask else None
        for repeat in range(config.repeats):
            watch, decoded, also = Stopwatch(synchronise=True), [], None if repeat else write
            if cluster is None:
                batches = decode_batches(
                    model, data, rows, tokenizer.pieces, watch, resources, windows, tokenizer.scoring, also
                )
            else:
                batches = spread_cuts(cluster, job_of(config, rows, files, window_config), data, watch)
            for batch in batches:
                decoded += batch
                if not repeat:
                    recogs.write(batch)
            for name in seconds:
                seconds[name].append(watch.seconds[name])
    report(out_dir, set_name, labels, decoded, tokenizer, seconds, config.write)
    if config.report:
        from hainan_k2.formats.checkpoint import select_checkpoints
        from hainan_k2.report.make import write_decoding
        from hainan_k2.report.origin import origin

        if config.model:
            made = origin([find_model(config.model) / "model.safetensors"], str(config.model))
        else:
            made = origin(select_checkpoints(pathlib.Path(config.exp_dir), config.epoch, config.avg))
        page = pathlib.Path(config.report)
        write_decoding(page, model, config.cuts, decoded, rows, seconds, tokenizer, resources, windows, made)
    return sum(len(utterance.failures) for utterance in decoded)


def main(argv: Optional[Sequence[str]] = None) -> None:
    config, options, files, windows = parse(
        argv, "Decode cuts with a trained HAINAN model.", DecodeConfig, SearchGrid, ResourceConfig, WindowConfig
    )
    start_logging()
    try:
        failures = decode(config, options, files, windows)
    except (ValueError, OSError) as error:
        fail(str(error))
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
