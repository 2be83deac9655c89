"""Audio to words with times: `python hainan_k2/transcribe.py talk.flac`; folders, patterns in quotes ('*.wav') and `-`,
paths on standard input line by line, do as well.

Words go to standard output, or, with --write and --out-dir, to OUT_DIR/transcripts.txt, .jsonl and .ctm, and for
subtitles to OUT_DIR/NAME.srt or .vtt. Every result is written as soon as it is there; --resume goes on where a run with
the same options was stopped.

Audio of any length: what is longer than --window seconds is heard by overlapping windows. --stream true takes 16-bit
mono PCM at 16 kHz from standard input instead of files, and prints words as they are spoken (hainan_k2/tools/live.py).

Exit codes: 0; 1 if some audio failed: it is listed, all other results are kept; 2 for what cannot be begun at all.
"""

from __future__ import annotations

import glob
import logging
import pathlib
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import torch  # noqa: E402
from tqdm import tqdm  # noqa: E402

from hainan_k2.config import as_dict, fail, option, parse  # noqa: E402
from hainan_k2.frontend.audio import is_audio_name  # noqa: E402
from hainan_k2.recognizer import WINDOWS, Recognizer, Result  # noqa: E402
from hainan_k2.result import WRITERS  # noqa: E402
from hainan_k2.search import METHODS, SearchConfig, check_methods  # noqa: E402
from hainan_k2.tools.knowledge import KnowledgeConfig, load_knowledge  # noqa: E402
from hainan_k2.tools.live import LiveConfig, pcm_blocks, show, transcribe_live  # noqa: E402
from hainan_k2.tools.page.make import write_transcription  # noqa: E402
from hainan_k2.tools.transcripts import Printed, Transcripts  # noqa: E402
from hainan_k2.tools.windows import WindowConfig  # noqa: E402


@dataclass(frozen=True)
class TranscribeConfig:
    audio: tuple[str, ...] = option((), "files, folders, patterns; - reads paths from standard input", positional=True)
    model: str = option("released", "model directory of export.py; released: the one that comes with the package")
    method: str = option("ar-greedy", "how to decode, of " + " ".join(METHODS))
    write: tuple[str, ...] = option((), "what to write, comma between, of " + " ".join(WRITERS) + "; default: words "
                                    "with times to standard output")
    out_dir: str = option("", "folder that --write writes to")
    stream: bool = option(False, "hear 16-bit mono PCM at 16 kHz on standard input, and print words as they come")
    report: str = option("", "HTML page to write: sound, spectrogram, tokens and lattice of up to 20 recordings, and "
                         "where other methods differ; without those that --resume leaves out")
    resume: bool = option(False, "leave out what an earlier run with the same options wrote to --out-dir")
    max_duration: float = option(60.0, "seconds of audio in a batch, padding included; 0: every file by itself",
                                 at_least=0)
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda where there is one")
    num_threads: int = option(0, "CPU threads of torch; 0: as many as it likes", at_least=0, at_most=1024)

    def __post_init__(self):
        if self.stream and (self.audio or self.write or self.report):
            raise ValueError("--stream takes samples from standard input and prints words: no audio, no --write, "
                             "no --report")
        if not self.audio and not self.stream:
            raise ValueError("no audio given: name files, folders or patterns, or - for paths on standard input")
        unknown = [kind for kind in self.write if kind not in WRITERS]
        if unknown:
            raise ValueError(f"--write {','.join(unknown)}: there are {', '.join(WRITERS)}")
        if bool(self.write) != bool(self.out_dir):
            raise ValueError("--write and --out-dir go together: what to write, and where")
        if self.resume and not self.out_dir:
            raise ValueError("--resume needs --out-dir: what is done is known from the files there")


def find_audio(arguments: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(path, name under which its results are kept) of all audio that the arguments name, in order.

    A folder is searched with all its subfolders for names that libsndfile knows the ending of; results keep its
    structure. A name that is not there is a pattern. What leads to nothing is returned as it is: reading it says why.
    """
    for argument in arguments:
        path = pathlib.Path(argument)
        if argument == "-":
            yield from find_audio(line.rstrip("\n") for line in sys.stdin if line.strip())
        elif path.is_dir():
            inside = sorted(p for p in path.rglob("*") if is_audio_name(p.name) and p.is_file())
            yield from ((str(p), str(p.relative_to(path))) for p in inside)
            if not inside:
                logging.warning("%s: no audio files in this folder", argument)
                yield argument, path.name
        elif not path.exists() and glob.has_magic(argument):
            inside = sorted(p for p in glob.glob(argument, recursive=True) if is_audio_name(p))
            yield from ((p, pathlib.Path(p).name) for p in inside or [argument])
        else:
            yield argument, path.name


def transcribe(config: TranscribeConfig, options: SearchConfig, files: KnowledgeConfig,
               windows: WindowConfig = WINDOWS) -> list[str]:
    """Write the words of all audio; returns why some failed, a line for each. ValueError where nothing can begin."""
    check_methods([config.method])
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    recognizer = Recognizer.load(config.model, config.device, windows)
    knowledge = load_knowledge(files, recognizer.tokenizer)
    settings = {"model": str(config.model), "method": config.method, **as_dict(options), **as_dict(files),
                **as_dict(windows)}
    # A path on standard input may be all that comes for a while: it is not kept waiting for others.
    max_duration = 0.0 if "-" in config.audio else config.max_duration
    notes: Counter = Counter()
    failures: list[str] = []
    done: list[Result] = []
    with Transcripts(config.out_dir, config.write, settings, config.resume) if config.out_dir else Printed() as out:
        names: dict[str, str] = {}
        skipped = 0

        def audio() -> Iterator[str]:
            nonlocal skipped
            for path, name in find_audio(config.audio):
                if path in names or out.has(path):
                    skipped += path not in names
                else:
                    names[path] = name
                    yield path

        with Progress() as progress:
            for result in recognizer.stream(audio(), config.method, options, knowledge, max_duration=max_duration):
                error = result.failure or out.write(result, names[result.name])
                if error:
                    failures.append(error)
                else:
                    done.append(replace(result, hypothesis=None))
                    notes.update([result.hypothesis.note] if result.hypothesis.note else [])
                progress.show(result, error)
    for note, count in notes.items():
        logging.info("%d results: %s", count, note)
    if skipped:
        logging.info("%d files were done before", skipped)
    if config.report:
        write_transcription(pathlib.Path(config.report), recognizer, done, config.method, options, knowledge)
    return failures


def stream(config: TranscribeConfig, options: SearchConfig, files: KnowledgeConfig, live: LiveConfig) -> None:
    """Print the words of standard input as they come. ValueError where it cannot begin, or the input is no PCM."""
    given = [name for name, value in as_dict(files).items() if value]
    if given:
        raise ValueError(f"--{given[0].replace('_', '-')} cannot be used with --stream")
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    recognizer = Recognizer.load(config.model, config.device)
    show(transcribe_live(recognizer.model, recognizer.spec, recognizer.tokenizer.pieces, pcm_blocks(sys.stdin.buffer),
                         live, options, config.method), sys.stdout)


class Progress:
    """A bar on a terminal, else a line for each file. Used as a context; the end sums up."""

    def __enter__(self) -> Progress:
        self.bar = tqdm(file=sys.stderr, disable=not sys.stderr.isatty(), leave=False, unit=" files")
        self.started, self.count, self.seconds = time.monotonic(), 0, 0.0
        return self

    def show(self, result: Result, error: str) -> None:
        self.count += 1
        self.seconds += result.seconds
        self.bar.update()
        self.bar.set_postfix_str(f"{self.speed():.0f} x real time")
        if error:
            tqdm.write(f"failed: {error}", file=sys.stderr)
        elif self.bar.disable:
            logging.info("%s: %.1f s, %d words", result.name, result.seconds, len(result.hypothesis.words))

    def speed(self) -> float:
        return self.seconds / max(1e-9, time.monotonic() - self.started)

    def __exit__(self, *error) -> None:
        self.bar.close()
        logging.info("%d files, %.1f s of audio in %.1f s (%.1f x real time)", self.count, self.seconds,
                     time.monotonic() - self.started, self.speed())


def main(argv: Sequence[str] | None = None) -> None:
    config, options, files, windows, live = parse(argv, "Print the words in audio files, with their times.",
                                                  TranscribeConfig, SearchConfig, KnowledgeConfig, WindowConfig,
                                                  LiveConfig)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        if config.stream:
            return stream(config, options, files, live)
        failures = transcribe(config, options, files, windows)
    except (ValueError, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    if failures:
        print(f"{len(failures)} failed:", *failures, sep="\n  ", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
