"""A browser of the Chromium family without a window, told what to do through a pipe (Chrome DevTools Protocol)."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

import numpy as np
from matplotlib import image

from tests.toy import ROOT

INSTALLED = ("chromium", "chromium-headless-shell", "google-chrome")
PATIENCE = 120.0  # seconds that a browser may be silent while it is asked something


def find_browser() -> Optional[str]:
    """The one that tests/browser.sh puts under .venv, or else an installed one."""
    ours = ROOT / ".venv" / "browser" / "run"
    return str(ours) if ours.exists() else next(filter(None, map(shutil.which, INSTALLED)), None)


class Tab:
    """One page in a browser that listens at `commands` and answers at `answers`; `logged`: all on its console."""

    def __init__(self, commands: int, answers: int):
        self._commands, self._answers, self._buffer, self._count = commands, answers, b"", 0
        self._session: Optional[str] = None
        self.logged: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank", width=1200, height=1600)["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command of the protocol; RuntimeError where it is an error."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._answers], [], [], PATIENCE)[0]:
                raise RuntimeError(f"the browser says nothing for {PATIENCE:.0f} s")
            heard = os.read(self._answers, 1 << 20)
            if not heard:
                raise RuntimeError("the browser has ended")
            self._buffer += heard
        one, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(one)
        if message.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.logged.append(json.dumps(message["params"]))
        return message

    def open(self, path: Path) -> None:
        """Loads a file, and waits for the end of that."""
        self.ask("Page.navigate", url=path.as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, of a promise what it promises."""
        result = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True,
                          userGesture=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {json.dumps(result['exceptionDetails'])}")
        return result["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until a JavaScript expression is true."""
        self.evaluate(f"new Promise((done) => {{ const look = () => ({condition}) ? done(true) : setTimeout(look, 20); "
                      "look(); })")

    def count(self, selector: str) -> int:
        """Elements that a CSS selector matches."""
        return self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length")

    def picture(self) -> np.ndarray:
        """A screenshot (H, W, 4) in [0, 1]."""
        return image.imread(io.BytesIO(base64.b64decode(self.ask("Page.captureScreenshot")["data"])))


@contextmanager
def browsing(program: str, profile: Path) -> Iterator[Tab]:
    """A tab of a browser that ends with the block; `profile`: a folder for what the browser keeps."""
    to_browser, from_browser = os.pipe(), os.pipe()

    def where_it_looks() -> None:  # for commands at descriptor 3, for a place for answers at 4
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser[0], from_browser[1])]
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    process = subprocess.Popen(
        [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio",
         "--remote-debugging-pipe", f"--user-data-dir={profile}"],
        stderr=subprocess.DEVNULL, preexec_fn=where_it_looks, pass_fds=(3, 4))
    os.close(to_browser[0])
    os.close(from_browser[1])
    try:
        yield Tab(to_browser[1], from_browser[0])
    finally:
        process.kill()
        process.wait()
        os.close(to_browser[1])
        os.close(from_browser[0])
