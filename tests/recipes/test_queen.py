"""The reader of queen.1c and the splits, on a small file in the same format."""

import io
import struct
import sys
from collections import Counter

import numpy as np
import pytest
import soundfile

from tests.recipes.shell import ROOT, bash

RECIPE = ROOT / "recipes" / "amazon_queen"
sys.path.insert(0, str(RECIPE / "local"))

from prepare import assign, recorded_lines
from queen import Line, Queen


def text_field(at, text, align):
    """A string with its length byte at the offset `at`, padded to a multiple of `align` unless it is empty."""
    data = bytes([len(text)]) + text.encode("latin1")
    return data + bytes(-(at + len(data)) % align if text else 0)


def dialogue(key, hero, person, greeting, farewells):
    """The bytes of a *.DOG entry with one level of choices; hero and person are lists of (id, text)."""
    body = bytearray(32 + 96)

    def add(start, text, align):
        body.extend(start)
        body.extend(text_field(len(body), text, align))

    if greeting:
        hero = [(0, greeting), *hero]
    for ident, text in hero:
        add(struct.pack(">hh", 1, ident), text, 4)
    person_at = len(body)
    for ident, text in person:
        add(struct.pack(">hh", 1, ident), text, 4)
    bye_at = len(body)
    for text in farewells:
        add(b"", text, 2)
    struct.pack_into(">h", body, 0, 1)
    struct.pack_into(">hhh", body, 4, key, len(hero), len(person))
    struct.pack_into(">h", body, 22, person_at)
    struct.pack_into(">h", body, 26, bye_at)
    return bytes(20) + bytes(body)


def cutaway(lines):
    body = bytearray(10)
    struct.pack_into(">h", body, 2, len(lines))
    struct.pack_into(">h", body, 8, 10)
    for text in ("", *lines):
        body.extend(text_field(len(body), text, 2))
    return bytes(20) + bytes(body)


def sound(seconds=0.5):
    file = io.BytesIO()
    samples = np.sin(np.arange(int(11025 * seconds)) / 5).astype(np.float32) / 2
    soundfile.write(file, samples, 11025, format="WAV", subtype="PCM_U8")
    return file.getvalue()


def write_queen(path, entries):
    table, data = b"", b""
    start = 15 + 21 * len(entries)
    for name, content in entries.items():
        table += struct.pack(">12sBII", name.encode(), 0, start + len(data), len(content))
        data += content
    path.write_bytes(b"QTBL" + b"1.10\0\0" + bytes(3) + struct.pack(">H", len(entries)) + table + data)
    return path


@pytest.fixture
def queen(tmp_path):
    texts = {
        "BOB2.DOG": dialogue(
            7,
            [(0x10, "Hello*01there, Bob.")],
            [(0x11, "(sigh)"), (0x12, "Go away!")],
            "",
            ["Bye.", "See you*XY12345678901later."],
        ),
        "FAYE.DOG": dialogue(9, [], [(0x20, "It is 5 o'clock.")], "Greetings.", ["Go away...", "No."]),
        "C01A.CUT": cutaway(["*", "#sign", "A distant voice.", "Go AWAY"]),
        "QUEEN2.JAS": b"Nice door.\r\nNot recorded.\r\nIt is locked.",
    }
    sounds = [
        "070010J1",
        "070010J2",
        "070011P1",
        "070012P1",
        "07XXXXP1",
        "07XXXXJ1",
        "07XXXXJ2",
        "090020P1",
        "090000J1",
        "09SSSSJ1",
        "09XXXXP1",
        "C01A_031",
        "C01A_041",
        "JOE00411",
        "JOE00431",
        "SIGH0001",
    ]
    return write_queen(tmp_path / "queen.1c", {**texts, **{f"{name}.SB": sound() for name in sounds}})


def test_lines(queen):
    lines = {line.name: line for line in Queen(queen).texts()}
    assert lines["070010J1"] == Line("070010J1", "Hello", "JOE", "BOB2")
    assert lines["070010J2"] == Line("070010J2", "there, Bob.", "JOE", "BOB2")
    assert lines["070012P1"] == Line("070012P1", "Go away!", "BOB", "BOB2")
    assert lines["07XXXXJ1"].text == "See you" and lines["07XXXXJ2"].text == "later."
    assert lines["09SSSSJ1"] == Line("09SSSSJ1", "Greetings.", "JOE", "FAYE")
    assert lines["090020P1"] == Line("090020P1", "It is 5 o'clock.", "FAYE", "FAYE")
    assert lines["C01A_031"] == Line("C01A_031", "A distant voice.", "CUT", "C01A")
    assert lines["JOE00411"] == Line("JOE00411", "Nice door.", "JOE", "QUEEN2")
    assert lines["JOE00431"].text == "It is locked."
    assert not {"C01A_011", "C01A_021"} & set(lines)  # an empty cue and a sign


def test_files_of_another_format(tmp_path):
    path = tmp_path / "queen.1c"
    path.write_bytes(b"RIFF" + bytes(100))
    with pytest.raises(ValueError, match="is not queen.1c: it begins with b'RIFF'"):
        Queen(path)
    path.write_bytes(b"QTBL" + bytes(9) + struct.pack(">H", 3))
    with pytest.raises(ValueError, match="are too few for 3 entries"):
        Queen(path)


def test_omitted_lines_are_counted(queen):
    dropped = Counter()
    lines = recorded_lines(Queen(queen), dropped)
    assert len(lines) == 14
    assert dropped == {"no words (a sigh, a gulp)": 1, "sound without a text": 1, "text without a sound": 2}


def test_splits(queen):
    dropped = Counter()
    lines = recorded_lines(Queen(queen), Counter())
    chosen = assign(lines, {"test": ["FAYE"], "dev": ["BOB"], "joe_lines": 3, "seed": 0}, dropped)
    assert {line.name for line in chosen["test"]} == {"090020P1", "09XXXXP1"}
    assert {line.speaker for line in chosen["dev"]} == {"BOB"}
    assert len(chosen["test-joe"]) == 3 and {line.speaker for line in chosen["test-joe"]} == {"JOE"}
    assert [line.text for line in chosen["train-cut"]] == ["A distant voice."]  # "Go AWAY" is a line of BOB and FAYE
    assert dropped == {"training line with the text of a held-out line": 1}
    names = [line.name for split in chosen.values() for line in split]
    assert sorted(names) == sorted({line.name for line in lines} - {"C01A_041"})
    with pytest.raises(ValueError, match="no lines of HENRY"):
        assign(lines, {"test": ["HENRY"], "dev": [], "joe_lines": 1, "seed": 0}, dropped)
    with pytest.raises(ValueError, match="joe_lines is 99"):
        assign(lines, {"test": ["FAYE"], "dev": [], "joe_lines": 99, "seed": 0}, dropped)


def test_prepare_writes_librispeech_folders_at_16_khz(queen, tmp_path):
    (tmp_path / "splits.yaml").write_text("test: [FAYE]\ndev: [BOB]\njoe_lines: 2\nseed: 0\n")
    prepare = f'"{sys.executable}" "{RECIPE}/local/prepare.py"'
    command = f"{prepare} --queen queen.1c --splits splits.yaml --dir out"
    done = bash(command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "left out: 1, training line with the text of a held-out line" in done.stderr
    transcript = tmp_path / "out/test/FAYE/FAYE/FAYE-FAYE.trans.txt"
    assert transcript.read_text() == "FAYE-FAYE-090020P1 It is 5 o'clock.\nFAYE-FAYE-09XXXXP1 Go away...\n"
    info = soundfile.info(tmp_path / "out/test/FAYE/FAYE/FAYE-FAYE-090020P1.flac")
    assert info.samplerate == 16000 and info.duration == pytest.approx(0.5, abs=1e-3)
    assert bash(command.replace("queen.1c", "absent"), cwd=tmp_path).returncode == 2


def test_the_recipes_own_splits_are_disjoint():
    from hainan_k2.cli import read_yaml

    splits = read_yaml(str(RECIPE / "conf" / "splits.yaml"))
    assert (len(splits["test"]), len(splits["dev"])) == (6, 5)
    assert not set(splits["test"]) & set(splits["dev"])
