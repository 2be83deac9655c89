"""Audio to words with times: `python hainan_k2/transcribe.py talk.flac`.

Takes files, folders, patterns in quotes ('*.wav') and `-`, which reads paths from standard input, one per line.

Words go to standard output, or, with --write and --out-dir, to OUT_DIR/transcripts.txt, .jsonl and .ctm, and for
subtitles to OUT_DIR/NAME.srt or .vtt; with several methods each has its own files, such as transcripts.sar.txt. Ids
are paths in which spaces are %20 (inference/inputs.py: utterance_id). Every result is written as soon as it is
there; --resume continues a run with the same options that was stopped. --reference prints error rates at the end.

Audio of any length: what is longer than --window seconds is encoded in overlapping windows. --stream true takes 16-bit
mono PCM at 16 kHz from standard input instead of files, and prints words while they arrive, with ar-greedy, nar-greedy
or ar-beam (inference/streaming.py): on a terminal as text that grows, unfinished words dimmed; elsewhere as lines of
JSON. A silence of --endpoint-silence seconds ends an utterance: a new line on the terminal, "endpoint": true in JSON.

Exit codes: 0; 1 if some audio failed: it is listed, all other results are kept; 2 if nothing can be transcribed.
"""

from __future__ import annotations

import logging
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Union, cast

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from hainan_k2.cli import fail, parse, start_logging
from hainan_k2.cluster import HELP as CLUSTER
from hainan_k2.cluster import Cluster
from hainan_k2.config import as_dict, option
from hainan_k2.inference.window_sizes import StreamConfig, WindowConfig
from hainan_k2.search.methods import METHODS
from hainan_k2.search.resources import ResourceConfig
from hainan_k2.search.sweep import SearchGrid
from hainan_k2.writers import WRITERS

if TYPE_CHECKING:
    from io import BufferedIOBase

    from hainan_k2.inference.decoded import Decoded
    from hainan_k2.result import Transcription
    from hainan_k2.search.sweep import Row

WINDOWS = WindowConfig()
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TranscribeConfig:
    audio: tuple[str, ...] = option((), "files, folders, patterns; - reads paths from standard input", positional=True)
    model: str = option("released", "model directory of export.py; released: the one that comes with the package")
    method: tuple[str, ...] = option(
        (),
        "methods, comma between, of the list below; all: every one that can run; default: the model's best that can "
        "run here, with --stream ar-greedy",
    )
    write: tuple[str, ...] = option(
        (), "what to write, comma between, of " + " ".join(WRITERS) + "; default: words with times to standard output"
    )
    out_dir: str = option("", "folder that --write writes to")
    reference: str = option(
        "",
        "texts to print error rates against: .csv or .tsv with columns path and text, lines ID "
        "TEXT, a folder of *.trans.txt, or an ending such as .txt, of files beside the audio",
    )
    stream: bool = option(False, "take 16-bit mono PCM at 16 kHz from standard input, and print words as they come")
    report: str = option(
        "",
        "HTML page to write: sound, spectrogram, tokens and lattice of up to 20 recordings; with --reference the "
        "errors of all recordings, without where methods differ; without recordings that --resume skips",
    )
    resume: bool = option(False, "skip what an earlier run with the same options wrote to --out-dir")
    overwrite: bool = option(False, "begin anew in an --out-dir that holds results")
    max_duration: float = option(
        60.0, "seconds of audio in a batch, padding included; 0: one file per batch", at_least=0
    )
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda where there is one")
    precision: str = option(
        "float32", "in which the encoder computes; int8: matrices on CPUs", ("float32", "float16", "bfloat16", "int8")
    )
    num_threads: int = option(0, "CPU threads of torch; 0: as many as it likes", at_least=0, at_most=1024)
    dask: str = option("", CLUSTER)

    help_title, help_example = "input and output", "talks/ --reference talks.tsv"

    def __post_init__(self) -> None:
        if self.stream and (self.audio or self.write or self.report or self.reference):
            raise ValueError(
                "--stream takes samples from standard input and prints words: no audio, no --write, "
                "no --report, no --reference"
            )
        if self.stream and self.dask:
            raise ValueError("--stream decodes in this process: no --dask")
        if self.stream and len(self.method) > 1:
            raise ValueError("--stream takes one --method")
        if "" in self.audio:
            raise ValueError("an empty argument names no audio; the current folder is .")
        if not self.audio and not self.stream:
            raise ValueError("no audio given: name files, folders or patterns, or - for paths on standard input")
        unknown = [kind for kind in self.write if kind not in WRITERS]
        if unknown:
            raise ValueError(f"--write {','.join(unknown)}: there are {', '.join(WRITERS)}")
        if bool(self.write) != bool(self.out_dir):
            raise ValueError("--write and --out-dir go together: what to write, and where")
        for name in ("resume", "overwrite"):
            if getattr(self, name) and not self.out_dir:
                raise ValueError(f"--{name} needs --out-dir: it is about the files there")
        if self.resume and self.overwrite:
            raise ValueError("--resume goes on with an earlier run, --overwrite discards it: give one of them")
        for method in self.method:
            if method in METHODS and METHODS[method].oracle and not self.reference:
                raise ValueError(f"method {method} needs --reference: it picks the text that is nearest to it")


def transcribe(
    config: TranscribeConfig, options: Any, files: ResourceConfig, windows: WindowConfig = WINDOWS
) -> list[str]:
    """Write the words of all audio.

    Args:
      options: a SearchGrid, SearchConfig with several values for an option.
    Returns:
      A line for every input that failed, with the reason.
    Raises:
      ValueError, OSError: if nothing can be transcribed.
    """
    from hainan_k2.formats.model_dir import NOTHING
    from hainan_k2.inference.inputs import Inputs
    from hainan_k2.inference.progress import Progress
    from hainan_k2.inference.recognizer import Recognizer
    from hainan_k2.inference.spread import Job, spread_files
    from hainan_k2.report.tally import Tally
    from hainan_k2.report.transcripts import Printed, Transcripts
    from hainan_k2.result import Transcription
    from hainan_k2.scoring.references import References
    from hainan_k2.search import check_methods, choose_methods
    from hainan_k2.search.resources import load_resources
    from hainan_k2.search.sweep import make_rows
    from hainan_k2.stopwatch import Stopwatch

    if config.method:
        check_methods(config.method)
    set_num_threads(config.num_threads)
    references = References(config.reference) if config.reference else None
    recognizer = Recognizer.load(config.model, config.device, windows, config.precision)
    if references:
        recognizer.tokenizer.scoring("")  # an unknown normalisation is an error now, not after the search
    resources = load_resources(files, recognizer.tokenizer)
    names = config.method or (recognizer.defaults.method(resources),)
    resources = recognizer.defaults.with_own_lm(resources, names)
    if not config.method:
        used = " and ".join(resources.given()) or "no language model"
        logger.info("decoding by %s, the default of %s, with %s", names[0], config.model, used)
    methods = choose_methods(names, resources, recognizer.model.config, options.lattice)
    rows = make_rows(methods, options, recognizer.defaults.decoding.settings, resources.given())
    labels = [row.label for row in rows]
    chosen_by = {"reference": config.reference} if any(METHODS[row.method].oracle for row in rows) else {}
    settings = {"model": str(config.model), **chosen_by, **as_dict(options), **as_dict(files), **as_dict(windows)}
    if recognizer.defaults.decoding != NOTHING:
        settings["decoding"] = recognizer.defaults.decoding.as_section()
    # The next path on standard input may take its time: a file does not wait for others to fill a batch.
    max_duration = 0.0 if "-" in config.audio else config.max_duration
    out: Union[Transcripts, Printed] = Printed(labels)
    if config.out_dir:
        out = Transcripts(config.out_dir, config.write, labels, settings, config.resume, config.overwrite)
    inputs = Inputs(config.audio, out.has)
    audio = (Transcription(item.path, failure=item.failure) if item.failure else item.path for item in inputs)
    watch, tally = Stopwatch(synchronise=True), Tally(out.failures)
    with out, Progress() as progress, ExitStack() as stack:
        if config.dask:
            cluster, name = stack.enter_context(Cluster(config.dask)), str(config.model)
            where = (config.device, config.precision, os.getcwd())
            job = Job(tuple(rows), files, windows, name, (), "", *where)
            every = spread_files(cluster, job, audio, max_duration, watch)
        else:
            every = recognizer.decode(audio, rows, resources, max_duration=max_duration, watch=watch)
        for results in every:
            source = inputs.by_path[results[0].name]
            reference = references.of(source) if references and results[0].seconds else None
            decoded = collect(results, rows, reference, recognizer.tokenizer.scoring)
            errors = list(dict.fromkeys(decoded.failures.values()))
            if decoded.hypotheses:
                errors += filter(None, [out.write(source, decoded)])
            tally.add(source.path, decoded, reference, errors)
            progress.show(source, decoded, errors)
    tally.tell(inputs, references)
    if tally.known:
        print(tally.scores(labels, watch))
    if config.report:
        from hainan_k2.formats.model_dir import find_model
        from hainan_k2.report.make import transcription_page, write_page
        from hainan_k2.report.origin import origin

        made = origin([find_model(config.model) / "model.safetensors"], str(config.model))
        recordings, seconds = (tally.known, watch.seconds) if tally.known else (tally.others, None)
        page = transcription_page(recognizer, recordings, rows, resources, seconds, made)
        write_page(pathlib.Path(config.report), page)
    return tally.failures


def collect(
    results: Sequence[Transcription], rows: Sequence[Row], reference: Optional[str], normalise: Callable[[str], str]
) -> Decoded:
    """Gather the results of all rows for a recording. An oracle's result is the alternative nearest to `reference`.

    `normalise` is applied to the texts that are compared.
    """
    from hainan_k2.inference.decoded import Decoded, nearest
    from hainan_k2.inference.inputs import utterance_id

    path = results[0].name
    decoded = Decoded(utterance_id(path), reference or "", results[0].seconds, {}, {}, normalise)
    for row, result in zip(rows, results):
        hypothesis, failure = result.hypothesis, result.failure
        if hypothesis is not None and METHODS[row.method].oracle:
            if reference is None:
                failure = f"{path}: {row.label}: no reference"
            else:
                hypothesis = nearest(hypothesis, reference, normalise)
        if failure or hypothesis is None:
            decoded.failures[row.label] = failure
        else:
            decoded.hypotheses[row.label] = hypothesis
    return decoded


def stream(config: TranscribeConfig, options: Any, files: ResourceConfig, windows: StreamConfig) -> None:
    """Print the words of standard input while they arrive.

    Raises ValueError if options or resources do not suit a stream, or the input is no PCM.
    """
    from hainan_k2.inference.live import show
    from hainan_k2.inference.pcm import pcm_blocks
    from hainan_k2.inference.recognizer import Recognizer
    from hainan_k2.inference.streaming import streaming_search
    from hainan_k2.search.resources import load_resources
    from hainan_k2.search.sweep import make_rows

    method = config.method or ("ar-greedy",)
    streaming_search(method[0])
    set_num_threads(config.num_threads)
    recognizer = Recognizer.load(config.model, config.device, precision=config.precision)
    resources = recognizer.defaults.with_own_lm(load_resources(files, recognizer.tokenizer), method)
    row, *more = make_rows(method, options, recognizer.defaults.decoding.settings, resources.given())
    if more:
        raise ValueError(f"--stream takes one value of every option, not {row.label} and {more[0].label}")
    blocks = pcm_blocks(cast("BufferedIOBase", sys.stdin.buffer))
    show(recognizer.transcribe_stream(blocks, row.method, row.options, resources, windows), sys.stdout)


def set_num_threads(count: int) -> None:
    """Give torch so many CPU threads; 0 leaves the choice to torch."""
    import torch

    if count:
        torch.set_num_threads(count)


def main(argv: Optional[Sequence[str]] = None) -> None:
    config, options, files, windows, stream_windows = parse(
        argv,
        "Print the words in audio files, with their times.",
        TranscribeConfig,
        SearchGrid,
        ResourceConfig,
        WindowConfig,
        StreamConfig,
    )
    from hainan_k2.files.text_tables import printable

    start_logging()
    try:
        if config.stream:
            return stream(config, options, files, stream_windows)
        failures = transcribe(config, options, files, windows)
    except (ValueError, OSError) as error:
        fail(printable(str(error)))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    if failures:
        print(f"{len(failures)} failed:", *map(printable, failures), sep="\n  ", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
