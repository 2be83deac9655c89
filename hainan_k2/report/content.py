"""What the page shows, as plain values for its script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Optional

import numpy as np

from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.inference.decoded import Decoded
from hainan_k2.report.calibration import calibration, judged_words
from hainan_k2.report.differences import columns
from hainan_k2.report.media import sound_uri, spectrogram
from hainan_k2.report.wordgraph import shares, word_graph
from hainan_k2.result import Hypothesis
from hainan_k2.score import score
from hainan_k2.scoring.wer import Score, ScoredUtterance
from hainan_k2.search import METHODS

CONFUSIONS = 12  # most frequent ones that are shown of every kind


@dataclass(frozen=True)
class Detail:
    """What is shown of an utterance beside its texts: samples (N,), mono and 16 kHz, where they are known; the most
    probable texts of its lattice, the best first, with natural logarithms for scores."""

    samples: Optional[np.ndarray] = None
    paths: tuple[Hypothesis, ...] = ()


@dataclass(frozen=True)
class Page:
    """Utterances decoded by some methods.

    labels: the methods, in order; the first is the one shown at the start. decoded: all utterances that count in the
    summary, with words. details: by id, those that are shown one by one. seconds: of "encoder" and of every label's
    search. facts: (name, value), told under the title. Without references the first label's texts stand for them, to
    tell where the others differ.
    """

    title: str
    labels: tuple[str, ...]
    decoded: Sequence[Decoded]
    pieces: Sequence[str]
    details: Mapping[str, Detail]
    seconds: Mapping[str, float] = field(default_factory=dict)
    facts: tuple[tuple[str, str], ...] = ()
    references: bool = True


def page_data(page: Page) -> dict[str, Any]:
    """The page as plain values that JSON holds; ValueError where an id comes twice or a label is missing."""
    if not page.labels:
        raise ValueError("a page needs at least one method")
    scores = {label: score(_results(page, label)) for label in page.labels}
    scored = {label: {u.id: u for u in s.utterances} for label, s in scores.items()}
    audio = sum(d.seconds for d in page.decoded)
    shown = [d for d in page.decoded if d.id in page.details]
    return {
        "title": page.title,
        "facts": page.facts,
        "references": page.references,
        "labels": page.labels,
        "audio": audio,
        "count": len(page.decoded),
        "encoder": page.seconds.get("encoder"),
        "methods": [_method(page, label, scores[label]) for label in page.labels],
        "utterances": [_utterance(page, d, [scored[label][d.id] for label in page.labels]) for d in shown],
    }


def _results(page: Page, label: str) -> list[tuple[str, str, str]]:
    if page.references:
        return [d.texts(label) for d in page.decoded]
    return [(d.id, d.texts(page.labels[0])[2], d.texts(label)[2]) for d in page.decoded]


def _method(page: Page, label: str, scored: Score) -> dict[str, Any]:
    """A row of the summary, and what the charts show of the method."""
    found = {d.id: d.hypotheses[label] for d in page.decoded if label in d.hypotheses}
    judged = [judged_words(u, found[u.id]) for u in scored.utterances if u.id in found]
    calibrated = calibration(pair for words in judged if words is not None for pair in words)
    confused = Counter(pair for u in scored.utterances for pair in u.pairs() if pair[0] != pair[1])
    kinds: dict[str, list] = {"substitutions": [], "deletions": [], "insertions": []}
    for (word, said), count in sorted(confused.items(), key=lambda item: (-item[1], str(item[0]))):
        kind = "insertions" if word is None else "deletions" if said is None else "substitutions"
        kinds[kind].append((word, said, count))
    return {
        "label": label,
        "description": METHODS[label.split(" ")[0]].description,
        "wer": _finite(scored.wer),
        "cer": _finite(scored.cer),
        "interval": [_finite(limit) for limit in scored.wer_interval()] if scored.utterances else [None, None],
        **asdict(scored.words),
        "words": scored.words.reference_length,
        "search": page.seconds.get(label),
        "failed": sum(label in d.failures for d in page.decoded),
        "confusions": {kind: {"kinds": len(found), "most": found[:CONFUSIONS]} for kind, found in kinds.items()},
        "calibration": {
            "bins": [asdict(b) for b in calibrated.bins],
            "error": calibrated.error,
            "words": calibrated.words,
            "left_out": sum(words is None for words in judged),
        },
    }


def _utterance(page: Page, decoded: Decoded, scored: Sequence[ScoredUtterance]) -> dict[str, Any]:
    detail = page.details[decoded.id]
    heard = detail.samples is not None
    graph = word_graph(detail.paths)
    return {
        "id": decoded.id,
        "seconds": decoded.seconds,
        "reference": scored[0].reference,
        "sound": sound_uri(detail.samples) if heard else None,
        "pictures": list(spectrogram(detail.samples)) if heard else [],
        "rows": [_row(page, decoded, label) for label in page.labels],
        "errors": [asdict(u.words) for u in scored],
        "columns": columns(scored),
        "paths": [
            {"text": path.text, "score": _finite(path.score), "share": share}
            for path, share in zip(detail.paths, shares(detail.paths))
        ],
        "graph": {
            "nodes": [asdict(node) for node in graph.nodes],
            "edges": [(*ends, mass) for ends, mass in graph.edges.items()],
        },
    }


def _row(page: Page, decoded: Decoded, label: str) -> dict[str, Any]:
    """What a method found in an utterance, times in seconds."""
    found = decoded.hypotheses.get(label)
    if found is None:
        return {
            "failure": decoded.failures.get(label, "not decoded"),
            "note": "",
            "score": None,
            "tokens": [],
            "words": [],
        }
    tokens = [
        {
            "text": page.pieces[token.id],
            "start": min(first * ENCODER_FRAME_SHIFT, decoded.seconds),
            "end": min(last * ENCODER_FRAME_SHIFT, decoded.seconds),
            "confidence": token.confidence,
            "frame": token.frame,
            "duration": token.duration,
        }
        for token, (first, last) in zip(found.tokens, found.spans())
    ]
    return {
        "failure": "",
        "note": found.note,
        "score": _finite(found.score),
        "tokens": tokens,
        "words": [asdict(word) for word in found.words],
    }


def _finite(value: float) -> Optional[float]:
    return value if isfinite(value) else None
