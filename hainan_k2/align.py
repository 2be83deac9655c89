"""Forced alignment: when the words of a known text were spoken.

    hainan-align talk.flac --text words.txt              the words of words.txt, with times and confidences, as CTM
    hainan-align talks/ --write TextGrid --out-dir out   every recording of a folder, with the .txt beside it
    hainan-align --cuts cuts.jsonl.gz --write cuts --out-dir out   lhotse cuts, with the texts of their supervisions

--text names the texts, as --reference of transcribe.py does: a file ending, such as .txt, of files beside the audio; a
table .csv or .tsv with columns path and text; lines ID TEXT; a folder of *.trans.txt. For a single recording it can be
the .txt file with its text.

--write: ctm, jsonl (with tokens), txt, srt, vtt, TextGrid; with --cuts also cuts, a manifest whose supervisions have
the words as alignments.

Exit codes: 0; 1 if some recordings have no alignment: they are listed, with the reason; 2 if nothing can be aligned.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Union

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from hainan_k2.cli import errors_in_one_line, parse, start_logging
from hainan_k2.config import option
from hainan_k2.inference.window_sizes import WindowConfig
from hainan_k2.writers import PER_RECORDING, WRITERS, ctm_lines

if TYPE_CHECKING:
    from hainan_k2.inference.aligner import Aligner
    from hainan_k2.result import Hypothesis, Transcription

CUTS = "cuts"
KINDS = (*WRITERS, CUTS)


@dataclass(frozen=True)
class AlignConfig:
    audio: tuple[str, ...] = option((), "files, folders, patterns", positional=True)
    text: str = option(".txt", "their texts: a file ending, .csv, .tsv, lines ID TEXT, or a folder of *.trans.txt")
    cuts: str = option("", "lhotse cuts in place of audio, each with a supervision that has a text")
    model: str = option("released", "model directory of export.py; released: the one that comes with the package")
    scores: str = option("ar", "log-probabilities with the predictor, or without it: faster", ("ar", "nar"))
    write: tuple[str, ...] = option(
        (), "what to write, comma between, of " + " ".join(KINDS) + "; default: CTM to standard output", KINDS
    )
    out_dir: str = option("", "folder that --write writes to")
    max_duration: float = option(60.0, "seconds of audio in a batch, padding included", above=0)
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda where there is one")

    help_title, help_example = "input and output", "talks/ --write TextGrid --out-dir out"

    def __post_init__(self) -> None:
        if bool(self.audio) == bool(self.cuts):
            raise ValueError("give audio, or --cuts in its place")
        if bool(self.write) != bool(self.out_dir):
            raise ValueError("--write and --out-dir go together: what to write, and where")
        if CUTS in self.write and not self.cuts:
            raise ValueError("--write cuts needs --cuts")


def run(config: AlignConfig, windows: WindowConfig) -> list[str]:
    """Align everything and write the results. Returns a line for each recording that failed.

    Raises ValueError where there is nothing to align, or nothing could be aligned.
    """
    from hainan_k2.inference.aligner import Aligner
    from hainan_k2.inference.recognizer import Recognizer

    recognizer = Recognizer.load(config.model, config.device, windows)
    aligner = Aligner(recognizer, config.scores)
    named: list[tuple[str, Hypothesis]] = []
    stems: list[str] = []
    failures: list[str] = []
    for name, stem, result in from_cuts(config, aligner) if config.cuts else from_audio(config, aligner):
        if result.hypothesis is None:
            failures.append(result.failure)
            continue
        named.append((name, result.hypothesis))
        stems.append(stem)
        if not config.write:
            print("\n".join(ctm_lines(named[-1:])), flush=True)
    if failures and not named:
        raise ValueError(failures[0] + (f" (and {len(failures) - 1} more failed)" if failures[1:] else ""))
    for kind in config.write:
        if kind == CUTS:
            write_cuts(config.cuts, Path(config.out_dir), dict(named))
        else:
            write(kind, Path(config.out_dir), named, stems)
    return failures


def from_audio(config: AlignConfig, aligner: Aligner) -> Iterator[tuple[str, str, Transcription]]:
    """The id of every recording, its path below the folder that was named, without ending, and its result."""
    from hainan_k2.files.text_tables import read_text
    from hainan_k2.inference.inputs import Inputs, utterance_id
    from hainan_k2.result import Transcription
    from hainan_k2.scoring.references import References

    inputs = Inputs(config.audio, lambda path: False)
    alone = len(config.audio) == 1 and Path(config.audio[0]).is_file() and Path(config.text).suffix == ".txt"
    only = read_text(Path(config.text)) if alone and Path(config.text).is_file() else None
    references = References(config.text) if only is None else None

    def pairs() -> Iterator[tuple[Union[str, Path, Transcription], str]]:
        for item in inputs:
            text = only if references is None else references.of(item)
            failure = item.failure
            if not failure and text is None and references is not None:
                failure = references.missing[-1]
            yield Transcription(item.path, failure=failure) if failure else item.path, text or ""

    for result in aligner.align_files(pairs(), config.max_duration):
        place = inputs.by_path[result.name].place
        yield utterance_id(result.name), os.path.splitext(place)[0] if place else result.name, result


def from_cuts(config: AlignConfig, aligner: Aligner) -> Iterator[tuple[str, str, Transcription]]:
    """The id of every cut, twice, and its result."""
    from hainan_k2.data.batches import EvaluationData
    from hainan_k2.data.config import DataConfig

    data_config = DataConfig(max_duration=config.max_duration, num_workers=0)
    recognizer = aligner.recognizer
    longest = recognizer.windows.seconds
    for result in aligner.align_batches(
        EvaluationData(config.cuts, data_config, recognizer.model.config, longest=longest)
    ):
        yield result.name, result.name, result


def write(kind: str, folder: Path, named: Sequence[tuple[str, Hypothesis]], stems: Sequence[str]) -> None:
    """Write FOLDER/alignments.KIND, or FOLDER/STEM.KIND for each recording where the format holds only one.

    Raises ValueError where two recordings have the same stem.
    """
    from hainan_k2.files.atomic import atomic_text

    files: dict[Path, Iterable[tuple[str, Hypothesis]]] = {folder / f"alignments.{kind}": named}
    if kind in PER_RECORDING:
        files = {folder / f"{stem}.{kind}": [result] for stem, result in zip(stems, named)}
        if len(files) < len(named):
            stem = next(stem for stem in stems if stems.count(stem) > 1)
            raise ValueError(f"two recordings would be written to {folder / stem}.{kind}: align them one by one")
    for path, part in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_text(path) as stream:
            stream.writelines(f"{line}\n" for line in WRITERS[kind](part))


def write_cuts(cuts: str, folder: Path, aligned: dict[str, Hypothesis]) -> None:
    """Write the manifest again, to `folder`, with the words as alignment "word" of the supervisions.

    Times count from the start of the cut, as lhotse's do. Cuts that have no alignment stay as they are.
    """
    from lhotse import CutSet
    from lhotse.supervision import AlignmentItem

    from hainan_k2.data.cuts import StoredCuts

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / Path(cuts).name
    if path.exists() and path.samefile(cuts):
        raise ValueError(f"{path} is the manifest that is read: choose another --out-dir")
    with CutSet.open_writer(path, overwrite=True) as writer:
        for cut in StoredCuts(cuts):
            if cut.id in aligned:
                words = [
                    AlignmentItem(w.text, w.start, round(w.end - w.start, 3), round(w.confidence, 3))
                    for w in aligned[cut.id].words
                ]
                (supervision,) = cut.supervisions
                cut.supervisions = [supervision.with_alignment("word", words)]
            writer.write(cut)


def main(argv: Optional[Sequence[str]] = None) -> None:
    config, windows = parse(argv, "Find the times of the words of known texts.", AlignConfig, WindowConfig)
    start_logging()
    with errors_in_one_line():
        failures = run(config, windows)
    if failures:
        print(f"{len(failures)} failed:", *failures, sep="\n  ", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
