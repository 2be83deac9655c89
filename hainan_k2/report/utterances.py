"""What the page shows of each utterance: its texts, their errors or differences, and the details of some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Optional

import numpy as np

from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.inference.decoded import Decoded
from hainan_k2.report.differences import align, columns
from hainan_k2.report.media import envelope, sound_uri, spectrogram
from hainan_k2.report.methods import errors_data, finite
from hainan_k2.report.page import Detail, Page
from hainan_k2.report.wordgraph import shares, word_graph
from hainan_k2.result import Hypothesis
from hainan_k2.scoring.wer import ScoredUtterance

LISTED = 3000  # utterances that the page lists at most: the test sets of LibriSpeech are smaller
Scored = Sequence[Mapping[str, ScoredUtterance]]  # for each method, its scored utterances by id


def listed(page: Page, scored: Scored) -> list[Decoded]:
    """The utterances that the page lists, in order: all, or the 3000 with most errors of the first method.

    Those with details are always among them. Without references the first 3000 are taken.
    """
    errors = {name: u.words.total for name, u in scored[0].items()} if scored else {}
    order = sorted(page.decoded, key=lambda d: (d.id not in page.details, -errors.get(d.id, 0)))
    chosen = {d.id for d in order[:LISTED]}
    return [d for d in page.decoded if d.id in chosen]


def utterance_data(page: Page, decoded: Decoded, scored: Scored) -> dict[str, Any]:
    """An utterance of the list. `scored` is empty if there are no references."""
    detail = page.details.get(decoded.id)
    return {
        "id": decoded.id,
        "speaker": page.speakers.get(decoded.id, ""),
        "seconds": round(decoded.seconds, 3),
        "rows": [_row(decoded, label) for label in page.labels],
        "detail": detail and _detail(page, decoded, detail),
        **(_errors([method[decoded.id] for method in scored]) if scored else _differences(page, decoded)),
    }


def _errors(each: Sequence[ScoredUtterance]) -> dict[str, Any]:
    """The errors of each method, and its words aligned with the reference."""
    return {
        "reference": " ".join(each[0].reference),
        "columns": columns(each),
        "errors": [errors_data(u.words) for u in each],
    }


def _differences(page: Page, decoded: Decoded) -> dict[str, Any]:
    """The words of the methods, aligned; `differing` lists the columns in which the methods have different words. A
    method that failed has no words and does not count."""
    texts = [decoded.texts(label)[2].split() for label in page.labels]
    succeeded = [i for i, label in enumerate(page.labels) if label in decoded.hypotheses]
    aligned = align(texts)
    return {
        "columns": [(None, words) for words in aligned],
        "differing": [i for i, words in enumerate(aligned) if len({words[j] for j in succeeded}) > 1],
    }


def _row(decoded: Decoded, label: str) -> dict[str, Any]:
    """The result of one method: words are [text, start and end in seconds, confidence]."""
    hypothesis = decoded.hypotheses.get(label)
    if hypothesis is None:
        return {"failure": decoded.failures.get(label, "not decoded"), "note": "", "words": []}
    words = [(w.text, round(w.start, 3), round(w.end, 3), round(w.confidence, 4)) for w in hypothesis.words]
    return {"failure": "", "note": hypothesis.note, "words": words}


def _detail(page: Page, decoded: Decoded, detail: Detail) -> dict[str, Any]:
    """Sound, spectrogram, tokens of each method, n-best list and word graph."""
    graph = word_graph(detail.paths)
    return {
        **_media(detail.samples),
        "tokens": [_tokens(page, decoded, decoded.hypotheses.get(label)) for label in page.labels],
        "paths": [
            {"text": path.text, "score": finite(path.score), "share": share}
            for path, share in zip(detail.paths, shares(detail.paths))
        ],
        "graph": {
            "nodes": [asdict(node) for node in graph.nodes],
            "edges": [(*ends, mass) for ends, mass in graph.edges.items()],
        },
    }


def _media(samples: Optional[np.ndarray]) -> dict[str, Any]:
    """Sound, envelope and spectrogram of samples (N,) at 16 kHz; empty where there are none."""
    if samples is None:
        return {"sound": None, "envelope": [], "pictures": []}
    return {"sound": sound_uri(samples), "envelope": envelope(samples), "pictures": list(spectrogram(samples))}


def _tokens(page: Page, decoded: Decoded, hypothesis: Optional[Hypothesis]) -> list[dict[str, Any]]:
    """The tokens of a method, times in seconds; none if the method failed."""
    if hypothesis is None:
        return []
    return [
        {
            "text": page.pieces[token.id],
            "start": min(first * ENCODER_FRAME_SHIFT, decoded.seconds),
            "end": min(last * ENCODER_FRAME_SHIFT, decoded.seconds),
            "confidence": token.confidence,
            "frame": token.frame,
            "duration": token.duration,
        }
        for token, (first, last) in zip(hypothesis.tokens, hypothesis.spans())
    ]
