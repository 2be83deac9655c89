"""Decoding on the workers of a Dask cluster: a batch is a chunk of work, and a worker loads the model once.

Batches are those of a single process, so that results are the same.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Union

from hainan_k2.cluster import Cluster
from hainan_k2.device import pick_device
from hainan_k2.formats.checkpoint import load_model
from hainan_k2.frontend.audio import SAMPLING_RATE, stated_seconds
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.engine import decode_batches
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.inference.samples import Input, batches
from hainan_k2.inference.window_sizes import WindowConfig
from hainan_k2.inference.windows import FRAME
from hainan_k2.result import Transcription
from hainan_k2.search.resources import DecodingResources, ResourceConfig, load_resources
from hainan_k2.search.sweep import Row
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from lhotse.cut import Cut

    from hainan_k2.data.batches import EvaluationData

Item = Union[str, Transcription]  # a path, or an input that has failed already

_ONE_AT_A_TIME = threading.Lock()  # chunks of a worker with several threads: they share the model


@dataclass(frozen=True)
class Job:
    """All that a worker needs to decode, as options and paths.

    Args:
      model: model directory; or checkpoints to average, and the folder with bpe.model.
      folder: where relative paths begin.
    """

    rows: tuple[Row, ...]
    files: ResourceConfig
    windows: WindowConfig
    model: str = ""
    checkpoints: tuple[str, ...] = ()
    lang_dir: str = ""
    device: str = "cpu"
    precision: str = "float32"
    folder: str = ""


@lru_cache(maxsize=1)
def loaded(job: Job) -> tuple[Recognizer, DecodingResources]:
    """The model and the decoding resources of a job; a process keeps those of its last job."""
    os.chdir(job.folder or ".")
    if job.checkpoints:
        model, _ = load_model([Path(path) for path in job.checkpoints])
        recognizer = Recognizer(model.to(pick_device(job.device)), Tokenizer(job.lang_dir), windows=job.windows)
    else:
        recognizer = Recognizer.load(job.model, job.device, job.windows, job.precision)
    resources = load_resources(job.files, recognizer.tokenizer)
    return recognizer, recognizer.defaults.with_own_lm(resources, [row.method for row in job.rows])


class CutResults(NamedTuple):
    """What a worker returns of a batch of cuts: results, (id, reason) of unreadable cuts, seconds by section."""

    decoded: list[Decoded]
    left_out: list[tuple[str, str]]
    seconds: dict[str, float]


def decode_cuts(job: Job, stored: bool, spec: FeatureSpec, chunk: tuple[list[Cut], bool]) -> CutResults:
    """Decode a batch of cuts in a worker; see `EvaluationData.chunks`."""
    from hainan_k2.data.batches import read_chunk

    with _ONE_AT_A_TIME:
        recognizer, resources = loaded(job)
        batch, left_out = read_chunk(chunk, stored, spec)
        watch, decoded = Stopwatch(synchronise=True), []
        if batch is not None:
            model, pieces, windows = recognizer.model, recognizer.tokenizer.pieces, recognizer.windows
            scoring = recognizer.tokenizer.scoring
            (decoded,) = decode_batches(model, [batch], job.rows, pieces, watch, resources, windows, scoring)
        return CutResults(decoded, left_out, dict(watch.seconds))


def spread_cuts(cluster: Cluster, job: Job, data: EvaluationData, watch: Stopwatch) -> Iterator[list[Decoded]]:
    """`decode_batches` on a cluster: the results of every batch, in order. `watch` adds up the seconds of all workers.

    Raises what iteration over `data` raises.
    """
    count = 0
    for results in cluster.map(partial(decode_cuts, job, data.stored, data.spec), data.chunks()):
        data.unreadable.add(results.left_out)
        _add(watch, results.seconds)
        count += len(results.decoded)
        yield results.decoded
    data.check_count(count)


def transcribe_files(
    job: Job, max_duration: float, chunk: list[Item]
) -> tuple[list[list[Transcription]], dict[str, float]]:
    """Transcribe a batch of files in a worker: `Recognizer.decode` of them, and seconds by section."""
    with _ONE_AT_A_TIME:
        recognizer, resources = loaded(job)
        watch = Stopwatch(synchronise=True)
        results = recognizer.decode(chunk, job.rows, resources, max_duration=max_duration, watch=watch)
        return list(results), dict(watch.seconds)


def spread_files(
    cluster: Cluster, job: Job, audio: Iterable[Item], max_duration: float, watch: Stopwatch
) -> Iterator[list[Transcription]]:
    """`Recognizer.decode` on a cluster: a Transcription for every row, file by file, in order.

    A batch is made of the lengths that the headers of the files state.
    """
    longest = job.windows.windows().at_once * FRAME / SAMPLING_RATE

    def stated(item: Item) -> Input:
        if isinstance(item, Transcription):
            return item, None
        seconds = stated_seconds(item)
        return Transcription(item, seconds), iter(()) if seconds > longest else None

    def chunks() -> Iterator[list[Item]]:
        for batch in batches(map(stated, audio), max_duration):
            yield [result if result.failure else result.name for result, _ in batch]

    for results, seconds in cluster.map(partial(transcribe_files, job, max_duration), chunks()):
        _add(watch, seconds)
        yield from results


def _add(watch: Stopwatch, seconds: dict[str, float]) -> None:
    for name, value in seconds.items():
        watch.seconds[name] += value
