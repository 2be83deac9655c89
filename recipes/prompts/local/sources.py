"""Speech with texts in packages of Debian: telephone prompts, Tux Paint's stamps, the dialogues of Fish Fillets.

Each reader takes a folder with the unpacked packages and the two letters of a language, and yields Lines.

    asterisk-core-sounds-XX, -XX-wav    one speaker at 8 kHz; a text file with lines `NAME: TEXT`
    tuxpaint-stamps-default             NAME_desc_XX.ogg, and the text in the line `XX.utf8=TEXT` of NAME.txt beside it
    fillets-ng-data, -data-XX           sound/LEVEL/XX/ID.ogg, and script/LEVEL/*dialogs_XX.lua with ID, font and text;
                                        every role has a font of its own
"""

from __future__ import annotations

import gzip
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hainan_k2.files.text_tables import read_text

sys.path.append(str(Path(__file__).resolve().parents[2] / "shared"))
from packages import find

DIALOGUE = re.compile(
    r'dialogId\(\s*"(?P<id>[^"\n]*)"\s*,\s*"(?P<font>[^"\n]*)"\s*,\s*"(?:[^"\\]|\\.)*"\s*\)\s*'
    r'dialogStr\(\s*"(?P<text>(?:[^"\\]|\\.)*)"\s*\)'
)
LEADS = {"font_small": "small", "font_big": "big"}
NO_ROLE = ("", "font_both")  # shouts of one lead or the other, and of both
GAP = re.compile(r"%\d")  # the game puts a number in its place
SIGNS = set("[]<>()#*/")  # they may be read aloud, or name a sound


@dataclass(frozen=True)
class Line:
    """A recording and its text, as it is written. A `role` is spoken by somebody else than the speakers of the rest."""

    id: str
    speaker: str
    path: Path
    text: str
    role: bool = False


def prompts(packages: Path, language: str, left_out: Counter) -> Iterator[Line]:
    """The telephone prompts; `left_out` counts texts without a sound, without a letter, and with signs.

    Raises ValueError where the packages are not there or the texts cannot be read.
    """
    listing = find(packages, f"**/core-sounds-{language}.txt.gz")
    folder = find(packages, f"**/sounds/{language}_*/*.wav").parent
    try:
        content = gzip.decompress(listing.read_bytes()).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{listing}: no text in UTF-8 compressed by gzip: {error}") from None
    for line in content.splitlines():
        name, colon, text = line.strip().partition(":")
        path = folder / f"{name}.wav"
        if line.startswith(";") or not colon:
            continue
        if not path.is_file():
            left_out["prompt without a sound"] += 1
        elif not text.strip():
            left_out["prompt without a text"] += 1
        elif SIGNS & set(text):
            left_out["prompt with signs"] += 1
        else:
            speaker = folder.name.rpartition("_")[2].lower()
            yield Line(f"{speaker}-{name.replace('/', '.')}", speaker, path, text.strip())


def stamps(packages: Path, language: str, left_out: Counter) -> Iterator[Line]:
    """The spoken names of the stamps; `left_out` counts those without a text. Raises ValueError as `prompts` does."""
    folder = find(packages, "**/tuxpaint/stamps")
    speaker = f"stamps-{language}"
    for path in sorted(folder.rglob(f"*_desc_{language}.ogg")):
        listing = path.with_name(path.name[: -len(f"_desc_{language}.ogg")] + ".txt")
        texts = read_text(listing).splitlines() if listing.is_file() else []
        text = next((line.partition("=")[2] for line in texts if line.startswith(f"{language}.utf8=")), "")
        if text.strip():
            name = "-".join(path.relative_to(folder).with_suffix("").parts)
            yield Line(f"{speaker}-{'_'.join(name.split())}", speaker, path, text.strip())
        else:
            left_out["stamp without a text"] += 1


def dialogues(packages: Path, language: str, left_out: Counter) -> Iterator[Line]:
    """The dialogues of the two fish and of all other roles; `left_out` counts texts without a sound, and with a gap.

    Raises ValueError as `prompts` does, and where a file has dialogues that are not of the known form.
    """
    scripts = find(packages, "**/fillets-ng/script")
    sounds = find(packages, f"**/fillets-ng/sound/*/{language}/*.ogg").parents[2]
    for listing in sorted(scripts.glob(f"*/*dialogs_{language}.lua")):
        content, level = read_text(listing), listing.parent.name
        of_level = {path.stem: path for path in sorted((sounds / level).rglob(f"{language}/*.ogg"))}
        found = list(DIALOGUE.finditer(content))
        if not found and "dialogId" in content:
            raise ValueError(f"{listing}: no dialogue of the form dialogId(ID, FONT, TEXT) dialogStr(TEXT)")
        for match in found:
            font = match["font"]
            if match["id"] not in of_level:
                left_out["dialogue without a sound"] += 1
                continue
            if GAP.search(match["text"]):
                left_out["dialogue with a gap"] += 1
                continue
            role = LEADS.get(font) or ("unknown" if font in NO_ROLE else font.partition("_")[2])
            text = re.sub(r"\\(.)", r"\1", match["text"])
            id = f"{role}-{level}-{match['id']}"
            yield Line(id, role, of_level[match["id"]], text, font not in (*LEADS, *NO_ROLE))
