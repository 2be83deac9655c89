"""What a client asks for, and the answer: a hypothesis as JSON, text or subtitles.

Fields of the request, besides `file`, are those of other servers of POST /v1/audio/transcriptions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from hainan_k2.config import shown
from hainan_k2.result import Hypothesis
from hainan_k2.writers import WRITERS, cues

UNDETERMINED = "und"  # the code of ISO 639 for a language that is not known
GRANULARITIES = ("word", "segment")
IGNORED = ("model", "language")  # a server has one model, and a model its languages
NAMES = ("response_format", "timestamp_granularities", "temperature", "prompt", "stream", *IGNORED)


class BadField(ValueError):
    """A field of the request has a value that the server does not take."""

    def __init__(self, name: str, message: str):
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Wanted:
    """The answer that a client asks for.

    Args:
      response_format: a name in FORMATS.
      granularities: what verbose_json lists, of GRANULARITIES.
      language: as the client names it; only repeated in the answer.
    """

    response_format: str = "json"
    granularities: tuple[str, ...] = GRANULARITIES
    language: str = UNDETERMINED

    @classmethod
    def of(cls, fields: Iterable[tuple[str, str]]) -> Wanted:
        """Read the fields of a request.

        Raises:
          BadField: for a field that is unknown, given twice, or would change the result in a way that this server
            cannot: a temperature above 0, a prompt, a stream of events.
        """
        values: dict[str, str] = {}
        granularities: list[str] = []
        for name, value in fields:
            name = name[:-2] if name.endswith("[]") else name
            if name not in NAMES:
                raise BadField(name, f"field {shown(name)} is unknown: besides a file there are {', '.join(NAMES)}")
            if name == "timestamp_granularities":
                granularities.append(value)
            elif name in values:
                raise BadField(name, f"field {name} is given twice")
            else:
                values[name] = value
        kind = values.get("response_format", "json")
        if kind not in FORMATS:
            raise BadField("response_format", f"response_format {shown(kind)}: choose from {', '.join(FORMATS)}")
        for granularity in granularities:
            if granularity not in GRANULARITIES:
                choices = ", ".join(GRANULARITIES)
                raise BadField(
                    "timestamp_granularities", f"{shown(granularity)} is no granularity: there are {choices}"
                )
        if granularities and kind != "verbose_json":
            raise BadField("timestamp_granularities", f"response_format {kind} has none: ask for verbose_json")
        _refuse_sampling(values)
        return cls(kind, tuple(granularities) or GRANULARITIES, values.get("language") or UNDETERMINED)


def _refuse_sampling(values: dict[str, str]) -> None:
    """BadField for values that would change the result."""
    try:
        temperature = float(values.get("temperature") or 0)
    except ValueError:
        raise BadField("temperature", f"temperature {shown(values['temperature'])} is no number") from None
    if temperature != 0:
        raise BadField(
            "temperature", f"temperature {temperature:g}: nothing is drawn at random here, leave it out or 0"
        )
    if values.get("prompt"):
        raise BadField("prompt", "prompts are not taken: start the server with --hotwords or --lm to favour words")
    if values.get("stream", "false").lower() not in ("false", "0", ""):
        raise BadField(
            "stream", "answers are sent in one piece: leave stream out, or use the WebSocket /v1/audio/stream"
        )


def _segment(number: int, start: float, end: float, text: str, hypothesis: Hypothesis) -> dict[str, Any]:
    """A segment of verbose_json. Its confidence is the lowest of its words."""
    within = [word.confidence for word in hypothesis.words if start <= word.start and word.end <= end]
    return {"id": number, "start": start, "end": end, "text": text, "confidence": min(within, default=0.0)}


def verbose(hypothesis: Hypothesis, seconds: float, wanted: Wanted) -> dict[str, Any]:
    """The object of verbose_json: text, words with times and confidences, and segments, which are those of subtitles.

    Times are in seconds.
    """
    answer: dict[str, Any] = {
        "task": "transcribe",
        "language": wanted.language,
        "duration": round(seconds, 3),
        "text": hypothesis.text,
    }
    if "word" in wanted.granularities:
        words = [asdict(word) for word in hypothesis.words]
        answer["words"] = [{"word": word.pop("text"), **word} for word in words]
    if "segment" in wanted.granularities:
        parts = enumerate(cues([("", hypothesis)]))
        answer["segments"] = [_segment(i, *cue, hypothesis) for i, cue in parts]
    return answer


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _subtitles(kind: str) -> Callable[[Hypothesis, float, Wanted], str]:
    return lambda hypothesis, seconds, wanted: "\n".join(WRITERS[kind]([("", hypothesis)])) + "\n"


# By response_format: the type of the content, and the function that makes it.
FORMATS: dict[str, tuple[str, Callable[[Hypothesis, float, Wanted], str]]] = {
    "json": ("application/json", lambda hypothesis, seconds, wanted: _json({"text": hypothesis.text})),
    "text": ("text/plain", lambda hypothesis, seconds, wanted: f"{hypothesis.text}\n"),
    "srt": ("application/x-subrip", _subtitles("srt")),
    "vtt": ("text/vtt", _subtitles("vtt")),
    "verbose_json": ("application/json", lambda h, seconds, wanted: _json(verbose(h, seconds, wanted))),
}


def answer(hypothesis: Hypothesis, seconds: float, wanted: Wanted) -> tuple[str, str]:
    """The type of the content and the content that answers a request. `seconds` is the length of the recording."""
    kind, write = FORMATS[wanted.response_format]
    return kind, write(hypothesis, seconds, wanted)
