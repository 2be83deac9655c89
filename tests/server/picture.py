"""The picture of the server's page in README.md: `.venv/bin/python -m tests.server.picture` writes it to tests/data.

The page is that of the released model, after Kennedy's sentence was given to it, in the browser of the tests.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hainan_k2.inference.window_sizes import WindowConfig
from hainan_k2.search.resources import ResourceConfig
from hainan_k2.search.sweep import SearchGrid
from hainan_k2.server.limits import LiveConfig
from hainan_k2.server.service import Service
from tests.report.browser import browsing, find_browser
from tests.report.pages import JFK
from tests.report.picture import save
from tests.server.running import serving
from tests.toy import ROOT


def main(path: Path = ROOT / "tests" / "data" / "server.png") -> None:
    """Serve, open the page, give it the recording and store a picture."""
    service = Service.load("released", "", SearchGrid(), ResourceConfig(), WindowConfig(), LiveConfig())
    with tempfile.TemporaryDirectory() as profile, serving(service) as client:
        with browsing(*find_browser(), Path(profile)) as tab:
            tab.visit(client.base)
            tab.resize(1100, 1000)
            tab.upload("input[type=file]", JFK)
            tab.wait("document.querySelector('iframe') !== null")
            with tab.frame("iframe"):
                tab.wait("document.querySelectorAll('.playhead').length === 1")
            save(tab.picture(), path)


if __name__ == "__main__":
    main()
