"""The pictures of the report page in README.md: `.venv/bin/python -m tests.report.picture` writes them to tests/data.

The page is that of Kennedy's sentence, decoded by the released model. It is photographed at two widths, in light and in
dark colours, by the browser of the tests.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hainan_k2 import transcribe
from tests.report.browser import browsing, find_browser
from tests.toy import ROOT

SPEECH = "tests/data/jfk.flac"  # of 1961, in the public domain
TEXT = "And so, my fellow Americans: ask not what your country can do for you, ask what you can do for your country."
METHODS = "ar-beam,ar-greedy,nar-greedy,sar,viterbi,mbr"
VIEWS = (("report.png", 1000, 1240, "light"), ("report-phone.png", 420, 1110, "dark"))  # file, width, height, colours


def main(out: Path = ROOT / "tests" / "data") -> None:
    """Decode, write the page, open it and store a picture of each view in the folder `out`."""
    programs = find_browser()
    with tempfile.TemporaryDirectory() as folder:
        page, references = Path(folder) / "page.html", Path(folder) / "text.csv"
        references.write_text(f'path,text\n{SPEECH},"{TEXT}"\n')
        transcribe.main([SPEECH, "--method", METHODS, "--reference", str(references), "--report", str(page)])
        with browsing(*programs, Path(folder) / "profile") as tab:
            for name, width, height, scheme in VIEWS:
                tab.colour_scheme(scheme)
                tab.resize(width, height)
                tab.open(page)
                tab.wait(
                    "document.querySelector('audio').readyState >= 1 && document.querySelector('.playhead') !== null"
                )
                save(tab.picture(), out / name)


def save(picture, path: Path) -> None:
    """Write a screenshot (H, W, 4), values in [0, 1], as a PNG of 256 colours: less than half as large as with all."""
    from PIL import Image

    image = Image.fromarray((255 * picture[..., :3]).round().astype("uint8"))
    # Other methods give rare colours, such as those of errors, up to the nearest grey.
    image = image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    image.save(path, optimize=True)


if __name__ == "__main__":
    main()
