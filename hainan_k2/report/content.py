"""The data of the page, as plain values that its script draws."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.report.breakdown import by_speaker, durations
from hainan_k2.report.differences import differences
from hainan_k2.report.media import STEP, frequency_marks
from hainan_k2.report.methods import CONFUSIONS, method_data, score_data
from hainan_k2.report.page import Page
from hainan_k2.report.utterances import listed, utterance_data
from hainan_k2.scoring.wer import score


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
    speakers = by_speaker(page.decoded, page.speakers)
    scores = [score(d.texts(label) for d in page.decoded) for label in page.labels] if page.references else []
    methods = [method_data(page, label) for label in page.labels]
    for method, scored in zip(methods, scores):
        method.update(score_data(scored, method["label"], page.decoded, speakers))
    by_id = [{u.id: u for u in scored.utterances} for scored in scores]
    return {
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
        "methods": methods,
        "differences": [] if page.references else _differences(page),
        "durations": asdict(durations([d.seconds for d in page.decoded])),
        "speakers": [{"name": s.name, "count": len(s.utterances), "seconds": s.seconds} for s in speakers],
        "utterances": [utterance_data(page, d, by_id) for d in listed(page, by_id)],
    }


def _differences(page: Page) -> list[dict[str, Any]]:
    """The word differences of every two methods."""
    texts = [{d.id: d.texts(label)[2] for d in page.decoded if label in d.hypotheses} for label in page.labels]
    return [asdict(difference) for difference in differences(texts, CONFUSIONS)]
