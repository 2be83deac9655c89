"""Label speech with a model's own words: `hainan-label --model DIR --cuts CUTS.jsonl.gz --out LABELLED.jsonl.gz`.

The cuts need no transcripts, and those that they have are not used. Each gets one supervision with the recognised text,
its confidence and the times of its words as an alignment, so that hainan-train and hainan-compute-features take the
result like any other manifest. Cuts are recognised as a whole: cut long recordings before (`lhotse cut
trim-to-supervisions`, `CutSet.cut_into_windows`).
"""

from __future__ import annotations

import logging
import pathlib
import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Optional

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from hainan_k2.cli import errors_in_one_line, parse, start_logging
from hainan_k2.config import option
from hainan_k2.search.methods import METHODS
from hainan_k2.search.resources import ResourceConfig
from hainan_k2.search.sweep import SearchGrid, make_rows

if TYPE_CHECKING:
    from lhotse.cut import Cut

    from hainan_k2.result import Hypothesis

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelConfig:
    """Inputs and outputs of label.py."""

    help_title = "input and output"

    model: str = option(MISSING, "model directory, or released")
    cuts: str = option(MISSING, "lhotse cuts to label, .jsonl.gz, with or without transcripts")
    out: str = option(MISSING, "the labelled cuts, .jsonl.gz")
    method: str = option("ar-beam", "decoding method", tuple(n for n, method in METHODS.items() if not method.oracle))
    min_confidence: float = option(
        0.0, "leave out cuts whose words have a lower mean confidence than this", at_least=0, at_most=1
    )
    max_unreadable: int = option(20, "cuts that may be left out because they cannot be read", at_least=0)
    max_duration: float = option(200.0, "seconds of audio in a batch, padding included", above=0)
    num_workers: int = option(1, "processes that read features; 0 reads in the main one", at_least=0, at_most=1000)
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda where there is one")


def label(config: LabelConfig, search: Any, files: ResourceConfig) -> None:
    """Write the labelled cuts, in the order of the input, and log how many were left out, by reason.

    Args:
      search: a SearchGrid with one value of every option.
    Raises:
      ValueError: where no cut gets a label, or the model, the cuts or a resource cannot be used.
    """
    from lhotse import CutSet

    from hainan_k2.data.cuts import StoredCuts
    from hainan_k2.data.manifests import write_manifest

    decoded, unreadable = recognise(config, search, files)
    labelled: list[Cut] = []
    left_out: dict[str, list[str]] = {"cannot be read": [*unreadable]}
    for cut in StoredCuts(config.cuts):
        found = decoded.get(cut.id)
        if found is None:
            continue
        if isinstance(found, str):
            left_out.setdefault(f"search failed, {found}", []).append(cut.id)
        elif not found.words:
            left_out.setdefault("no words", []).append(cut.id)
        elif confidence(found) < config.min_confidence:
            left_out.setdefault(f"confidence below {config.min_confidence:g}", []).append(cut.id)
        else:
            labelled.append(with_label(cut, found, config.method))
    for why, names in left_out.items():
        if names:
            logger.warning("%d cuts left out, %s: %s", len(names), why, " ".join(names[:5]) + " ..." * (len(names) > 5))
    if not labelled:
        raise ValueError(f"{config.cuts}: no cut gets a label; {config.out} is not written")
    write_manifest(CutSet.from_cuts(labelled), pathlib.Path(config.out))
    hours = sum(cut.duration for cut in labelled) / 3600
    logger.info("%s: %d of %d cuts, %.2f h", config.out, len(labelled), len(decoded) + len(unreadable), hours)


def recognise(config: LabelConfig, search: Any, files: ResourceConfig) -> tuple[dict[str, Any], dict[str, str]]:
    """By cut id the hypothesis, or the reason why its search failed; and the cuts that cannot be read, with reasons."""
    from lhotse import CutSet
    from lhotse.lazy import LazyMapper

    from hainan_k2.data.batches import EvaluationData, Unreadable
    from hainan_k2.data.config import DataConfig
    from hainan_k2.data.cuts import open_cuts
    from hainan_k2.device import pick_device
    from hainan_k2.formats.model_dir import find_model, read_decoding, read_model, read_own_lm
    from hainan_k2.inference.engine import decode_batches
    from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS
    from hainan_k2.search import choose_methods
    from hainan_k2.search.choosing import with_own_lm
    from hainan_k2.search.resources import load_resources
    from hainan_k2.stopwatch import Stopwatch
    from hainan_k2.training.encoder_output import encoder_sha256

    folder = find_model(config.model)
    model, tokenizer, _ = read_model(folder)
    own_lm = partial(read_own_lm, folder, tokenizer)
    resources = with_own_lm(load_resources(files, tokenizer), [config.method], own_lm)
    choose_methods([config.method], resources, model.config)
    unreadable = Unreadable(config.max_unreadable)
    data = EvaluationData(
        CutSet(LazyMapper(open_cuts(config.cuts), without_transcript)),
        DataConfig(max_duration=config.max_duration, num_workers=config.num_workers),
        model.config,
        unreadable,
        longest=DEFAULT_WINDOWS.seconds,
        encoder=encoder_sha256(model),
    )
    rows = make_rows([config.method], search, read_decoding(folder).settings, resources.given())
    if len(rows) > 1:
        raise ValueError(f"{len(rows)} labels for every cut: give each option one value")
    found: dict[str, Any] = {}
    model.to(pick_device(config.device))
    for batch in decode_batches(model, data, rows, tokenizer.pieces, Stopwatch(), resources):
        for utterance in batch:
            if utterance.id in found:
                raise ValueError(f"{config.cuts}: two cuts have the id {utterance.id}")
            found[utterance.id] = utterance.failures.get(config.method) or utterance.hypotheses[config.method]
    return found, unreadable.reasons


def without_transcript(cut: Cut) -> Cut:
    """The cut with one supervision, as batches need it, that has an empty text."""
    return with_supervision(cut, "", {}, None)


def with_label(cut: Cut, hypothesis: Hypothesis, method: str) -> Cut:
    """The cut with the words of a hypothesis as its only supervision; its speaker and language are kept."""
    from lhotse.supervision import AlignmentItem

    words = [
        AlignmentItem(word.text, word.start, round(word.end - word.start, 3), word.confidence)
        for word in hypothesis.words
    ]
    custom = {"confidence": round(confidence(hypothesis), 4), "labelled_by": method}
    return with_supervision(cut, hypothesis.text, custom, {"word": words})


def with_supervision(cut: Cut, text: str, custom: dict[str, Any], alignment: Optional[dict[str, Any]]) -> Cut:
    """The cut with one supervision over its whole length. Raises ValueError for a mixture or several channels."""
    from lhotse import MonoCut, SupervisionSegment
    from lhotse.utils import fastcopy

    if not isinstance(cut, MonoCut):
        raise ValueError(f"cut {cut.id} is a {type(cut).__name__}: only cuts of one recording and channel are labelled")
    before = cut.supervisions[0] if len(cut.supervisions) == 1 else None
    supervision = SupervisionSegment(
        id=cut.id,
        recording_id=cut.recording_id,
        start=0.0,
        duration=cut.duration,
        channel=cut.channel,
        text=text,
        language=before.language if before else None,
        speaker=before.speaker if before else None,
        alignment=alignment,
        custom=custom or None,
    )
    return fastcopy(cut, supervisions=[supervision])


def confidence(hypothesis: Hypothesis) -> float:
    """The mean confidence of the words of a hypothesis, in [0, 1]; 0 without words."""
    return sum(word.confidence for word in hypothesis.words) / max(1, len(hypothesis.words))


def main(argv: Optional[Sequence[str]] = None) -> None:
    config, search, files = parse(argv, "Label cuts with a model's own words.", LabelConfig, SearchGrid, ResourceConfig)
    start_logging()
    with errors_in_one_line():
        label(config, search, files)


if __name__ == "__main__":
    main()
