"""Results as lines of text, for files: Kaldi text, JSON lines, CTM, SRT, WebVTT, TextGrid.

Every writer takes pairs (utterance id, Hypothesis with words) and returns lines without newlines; WRITERS has them by
file ending. A new format is one more function there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from hainan_k2.frames import ENCODER_FRAME_SHIFT
from hainan_k2.result import Hypothesis

NamedHypotheses = Iterable[tuple[str, Hypothesis]]  # with utterance ids


def text_lines(results: NamedHypotheses) -> list[str]:
    """Kaldi's text: `id word word ...`."""
    return [f"{name} {hypothesis.text}".rstrip() for name, hypothesis in results]


def json_lines(results: NamedHypotheses) -> list[str]:
    """One JSON object per utterance: its id and all fields of the hypothesis; null for a score that is not finite."""
    return [json.dumps({"id": name, **_plain(result)}, ensure_ascii=False) for name, result in results]


def _plain(result: Hypothesis) -> dict[str, Any]:
    score = result.score if math.isfinite(result.score) else None  # JSON has no infinity
    return {**asdict(result), "score": score, "alternatives": [_plain(h) for h in result.alternatives]}


def ctm_lines(results: NamedHypotheses, channel: str = "1") -> list[str]:
    """NIST's CTM: `id channel start duration word confidence`, times in seconds."""
    return [
        f"{name} {channel} {word.start:.3f} {word.end - word.start:.3f} {word.text} {word.confidence:.3f}"
        for name, hypothesis in results
        for word in hypothesis.words
    ]


def srt_lines(results: NamedHypotheses) -> list[str]:
    """SubRip subtitles. Raises ValueError for more than one recording."""
    lines = []
    for number, (start, end, text) in enumerate(cues(results), 1):
        lines += [str(number), f"{_clock(start, ',')} --> {_clock(end, ',')}", text, ""]
    return lines


def vtt_lines(results: NamedHypotheses) -> list[str]:
    """WebVTT subtitles. Raises ValueError for more than one recording."""
    lines = ["WEBVTT", ""]
    for start, end, text in cues(results):
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        lines += [f"{_clock(start, '.')} --> {_clock(end, '.')}", escaped, ""]
    return lines


def textgrid_lines(results: NamedHypotheses) -> list[str]:
    """Praat's TextGrid: a tier "words" of intervals, empty where nobody speaks. Raises ValueError for more than one
    recording. A word of zero length shares the interval of the next word, or of the one before where it is the last."""
    hypothesis = _only(results)
    intervals: list[tuple[float, float, str]] = []
    waiting, end = "", 0.0
    for word in hypothesis.words:
        text = f"{waiting} {word.text}".strip()
        if word.end <= word.start:
            waiting = text
            continue
        if word.start > end:
            intervals.append((end, word.start, ""))
        intervals.append((word.start, word.end, text))
        waiting, end = "", word.end
    if waiting and intervals:
        start, end, text = intervals.pop()
        intervals.append((start, end, f"{text} {waiting}"))
    total = max(end, round(hypothesis.num_frames * ENCODER_FRAME_SHIFT, 3))
    if total > end or not intervals:
        intervals.append((end, total, ""))
    span = ["xmin = 0", f"xmax = {total:.3f}"]
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        *span,
        "tiers? <exists>",
        "size = 1",
        "item []:",
    ]
    lines += ["    item [1]:", '        class = "IntervalTier"', '        name = "words"']
    lines += [f"        {line}" for line in (*span, f"intervals: size = {len(intervals)}")]
    for number, (start, stop, text) in enumerate(intervals, 1):
        quoted = text.replace('"', '""')
        columns = f"xmin = {start:.3f}", f"xmax = {stop:.3f}", f'text = "{quoted}"'
        lines += [f"        intervals [{number}]:", *(f"            {column}" for column in columns)]
    return lines


WRITERS: dict[str, Callable[[NamedHypotheses], list[str]]] = {
    "txt": text_lines,
    "jsonl": json_lines,
    "ctm": ctm_lines,
    "srt": srt_lines,
    "vtt": vtt_lines,
    "TextGrid": textgrid_lines,
}
PER_RECORDING = ("srt", "vtt", "TextGrid")  # a file for each recording; the other kinds have one file for all


def _only(results: NamedHypotheses) -> Hypothesis:
    """The hypothesis of a single recording; ValueError for more."""
    listed = list(results)
    if len(listed) != 1:
        raise ValueError(f"the file is of one recording, not of {len(listed)}: write a file for each")
    return listed[0][1]


def cues(
    results: NamedHypotheses, max_characters: int = 42, max_seconds: float = 6.0, max_pause: float = 1.0
) -> list[tuple[float, float, str]]:
    """Words grouped into subtitle cues (start, end, text), times in seconds.

    No cue has zero length: a word of zero length, whose frame is also that of the next word, joins the next word's cue.
    """
    results = list(results)
    if len(results) > 1:
        raise ValueError(f"subtitles are of one recording, not of {len(results)}: write a file for each")
    cues: list[tuple[float, float, str]] = []
    for word in (word for _, hypothesis in results for word in hypothesis.words):
        start, end, text = cues[-1] if cues else (0.0, 0.0, "")
        longer = f"{text} {word.text}"
        near = word.start - end <= max_pause and word.end - start <= max_seconds
        if cues and (near and len(longer) <= max_characters or end == start):
            cues[-1] = (start, word.end, longer)
        else:
            cues.append((word.start, word.end, word.text))
    return cues


def _clock(seconds: float, separator: str) -> str:
    """Seconds as HH:MM:SS<separator>mmm."""
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{separator}{milliseconds % 1000:03d}"
