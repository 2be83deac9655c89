"""The endpoints that take a file: its words, and its report page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hainan_k2.files.text_tables import printable
from hainan_k2.frontend.audio import UnknownFormat
from hainan_k2.frontend.content import AudioContent
from hainan_k2.result import Hypothesis
from hainan_k2.server.answers import BadField, Wanted, answer
from hainan_k2.server.errors import Refusal
from hainan_k2.server.limits import Limits
from hainan_k2.server.search_queue import Abandoned, SearchQueue
from hainan_k2.server.service import Service, TooLong, read_recording
from hainan_k2.server.uploads import received

REPORT_SECONDS = 600.0  # a longer recording has no page: several methods search it, and the page holds its sound
CLOSED_REQUEST = 499  # status, in logs only, of a request whose client is gone

Result = TypeVar("Result")


class Transcriptions:
    """The endpoints of uploads. Their requests share the places of the SearchQueue."""

    def __init__(self, service: Service, limits: Limits):
        self.service, self.limits = service, limits

    async def transcribe(self, request: Request) -> Response:
        """POST /v1/audio/transcriptions: the words of the field `file`, in the form that the other fields name."""

        def search(content: AudioContent) -> tuple[Hypothesis, float]:
            recording = read_recording(content, self.limits.max_seconds)
            return self.service.transcribe(recording), recording.seconds

        def respond(found: tuple[Hypothesis, float], wanted: Wanted) -> Response:
            kind, content = answer(*found, wanted)
            return Response(content, media_type=kind)

        return await self._work(request, search, respond)

    async def report(self, request: Request) -> Response:
        """POST /v1/report: the report page of the field `file`, an HTML document that loads no other file."""

        def search(content: AudioContent) -> str:
            return self.service.report(read_recording(content, min(REPORT_SECONDS, self.limits.max_seconds)))

        return await self._work(request, search, lambda page, wanted: HTMLResponse(page))

    async def _work(
        self,
        request: Request,
        search: Callable[[AudioContent], Result],
        respond: Callable[[Result, Wanted], Response],
    ) -> Response:
        """Receive the upload, search it when its turn comes, and respond. Raises Refusal."""
        queue: SearchQueue = request.app.state.queue
        try:
            with queue.place():
                async with received(request, self.limits.upload_bytes) as upload:
                    wanted = Wanted.of(upload.fields)
                    found = await queue.run(lambda: search(upload.content), request.is_disconnected)
            return respond(found, wanted)
        except Abandoned:
            return Response(status_code=CLOSED_REQUEST)
        except BadField as error:
            raise Refusal(400, str(error), error.name) from None
        except TooLong as error:
            raise Refusal(413, str(error), "file") from None
        except UnknownFormat as error:
            raise Refusal(415, printable(str(error)), "file") from None
        except ValueError as error:
            raise Refusal(422, printable(str(error)), "file") from None
