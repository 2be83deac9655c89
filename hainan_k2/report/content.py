"""The data of the page, as plain values that its script draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Optional

import numpy as np

from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.inference.decoded import Decoded, of_method
from hainan_k2.report.differences import Pair, align, columns, differences, unequal_pairs
from hainan_k2.report.media import STEP, envelope, frequency_marks, sound_uri, spectrogram
from hainan_k2.report.wordgraph import shares, word_graph
from hainan_k2.result import Hypothesis
from hainan_k2.scoring.calibration import calibration, judged_utterances
from hainan_k2.scoring.wer import Score, score
from hainan_k2.search import METHODS

CONFUSIONS = 12  # how many of the most frequent substitutions, deletions and insertions are shown


@dataclass(frozen=True)
class Detail:
    """What the page shows of one utterance besides its texts.

    Args:
      samples: (N,), mono, 16 kHz; None if the page has no sound for it.
      paths: the most probable texts of its lattice, best first; their scores are natural logarithms.
    """

    samples: Optional[np.ndarray] = None
    paths: tuple[Hypothesis, ...] = ()


@dataclass(frozen=True)
class Page:
    """Utterances decoded by one or more methods.

    Args:
      title: heading of the page.
      labels: the methods; the first is selected when the page opens.
      decoded: the utterances that the summary counts; their hypotheses have words.
      pieces: the tokenizer's pieces, index = token id.
      details: the utterances that are shown one by one, by id.
      seconds: time of "encoder" and of the search of each label.
      facts: (name, value) pairs, printed under the title.
      references: whether the utterances have references. If not, every two methods are compared, and none is scored.
      origin: (name, value) pairs, printed at the end of the page: what made it.
    """

    title: str
    labels: tuple[str, ...]
    decoded: Sequence[Decoded]
    pieces: Sequence[str]
    details: Mapping[str, Detail]
    seconds: Mapping[str, float] = field(default_factory=dict)
    facts: tuple[tuple[str, str], ...] = ()
    references: bool = True
    origin: tuple[tuple[str, str], ...] = ()


def page_data(page: Page) -> dict[str, Any]:
    """The page as values that JSON can hold.

    Raises:
      ValueError: if an id comes twice or there is no label.
    """
    if not page.labels:
        raise ValueError("a page needs at least one method")
    repeated = [name for name, count in Counter(d.id for d in page.decoded).items() if count > 1]
    if repeated:
        raise ValueError(f"{len(repeated)} utterances of the page have several results, e.g. {repeated[0]}")
    shown = [d for d in page.decoded if d.id in page.details]
    data: dict[str, Any] = {
        "title": page.title,
        "facts": page.facts,
        "origin": page.origin,
        "references": page.references,
        "labels": page.labels,
        "audio": sum(d.seconds for d in page.decoded),
        "count": len(page.decoded),
        "kilohertz": frequency_marks(),
        "step": STEP / SAMPLING_RATE,
        "encoder": page.seconds.get("encoder"),
        "methods": [_method(page, label) for label in page.labels],
        "utterances": [_utterance(page, d) for d in shown],
    }
    if not page.references:
        texts = [{d.id: d.texts(label)[2] for d in page.decoded if label in d.hypotheses} for label in page.labels]
        data["differences"] = [asdict(difference) for difference in differences(texts, CONFUSIONS)]
        for utterance, decoded in zip(data["utterances"], shown):
            utterance.update(_compared(page, decoded))
        return data
    scores = {label: score(d.texts(label) for d in page.decoded) for label in page.labels}
    scored = {label: {u.id: u for u in s.utterances} for label, s in scores.items()}
    for method in data["methods"]:
        method.update(_scored(page, method["label"], scores[method["label"]]))
    for utterance in data["utterances"]:
        each = [scored[label][utterance["id"]] for label in page.labels]
        utterance.update(reference=each[0].reference, columns=columns(each))
        utterance["errors"] = [{**asdict(u.words), "rate": _finite(u.words.rate)} for u in each]
    return data


def _compared(page: Page, decoded: Decoded) -> dict[str, Any]:
    """The texts of the methods for an utterance without a reference, aligned; `differing` lists the columns in which
    the methods have different words. A method that failed has no words and does not count."""
    texts = [decoded.texts(label)[2].split() for label in page.labels]
    there = [i for i, label in enumerate(page.labels) if label in decoded.hypotheses]
    aligned = align(texts)
    return {
        "columns": [(None, words) for words in aligned],
        "differing": [i for i, words in enumerate(aligned) if len({words[j] for j in there}) > 1],
    }


def _method(page: Page, label: str) -> dict[str, Any]:
    """What the summary says of a method, whether or not there are references."""
    return {
        "label": label,
        "description": METHODS[label.split(" ")[0]].description,
        "search": page.seconds.get(label),
        "failed": sum(label in d.failures for d in page.decoded),
    }


def _scored(page: Page, label: str, scored: Score) -> dict[str, Any]:
    """The error rates of a method, with the data of its charts."""
    judged = judged_utterances(scored, *of_method(page.decoded, label))
    calibrated = calibration(pair for words in judged if words is not None for pair in words)
    kinds: dict[str, list[Pair]] = {"substitutions": [], "deletions": [], "insertions": []}
    for word, instead, count in unequal_pairs(scored):
        kind = "insertions" if word is None else "deletions" if instead is None else "substitutions"
        kinds[kind].append((word, instead, count))
    return {
        "wer": _finite(scored.wer),
        "cer": _finite(scored.cer),
        "interval": [_finite(limit) for limit in scored.wer_interval()] if scored.utterances else [None, None],
        **asdict(scored.words),
        "words": scored.words.reference_length,
        "confusions": {kind: {"kinds": len(pairs), "most": pairs[:CONFUSIONS]} for kind, pairs in kinds.items()},
        "calibration": {
            "bins": [asdict(b) for b in calibrated.bins],
            "error": calibrated.error,
            "words": calibrated.words,
            "left_out": sum(words is None for words in judged),
        },
    }


def _utterance(page: Page, decoded: Decoded) -> dict[str, Any]:
    """An utterance that is shown in detail: sound, spectrogram, a row per method, n-best list, word graph."""
    detail = page.details[decoded.id]
    graph = word_graph(detail.paths)
    return {
        "id": decoded.id,
        "seconds": decoded.seconds,
        "sound": None if detail.samples is None else sound_uri(detail.samples),
        "envelope": [] if detail.samples is None else envelope(detail.samples),
        "pictures": [] if detail.samples is None else list(spectrogram(detail.samples)),
        "rows": [_row(page, decoded, label) for label in page.labels],
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
    """The tokens and words of one method for one utterance, times in seconds."""
    hypothesis = decoded.hypotheses.get(label)
    if hypothesis is None:
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
        for token, (first, last) in zip(hypothesis.tokens, hypothesis.spans())
    ]
    return {
        "failure": "",
        "note": hypothesis.note,
        "score": _finite(hypothesis.score),
        "tokens": tokens,
        "words": [asdict(word) for word in hypothesis.words],
    }


def _finite(value: float) -> Optional[float]:
    return value if isfinite(value) else None
