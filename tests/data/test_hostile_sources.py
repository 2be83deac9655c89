"""Corpora with faults: one line with the file and the line, exit code 2, and nothing is written."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import AudioSource, CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.shar import TarWriter

from hainan_k2.data.cuts import StoredCuts
from hainan_k2.prepare_data import main
from tests.data.corpora import make_cuts, write_folder, write_kaldi, write_nemo, write_table


def edit(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path.parent


def kaldi(name, old, new):
    return lambda folder: edit(write_kaldi(folder, pipe=False) / name, old, new)


def nemo(old, new):
    def make(folder):
        path = write_nemo(folder)
        edit(path, old, new)
        return path

    return make


def table(old, new):
    def make(folder):
        path = write_table(folder)
        edit(path, old, new)
        return path

    return make


def stereo(folder):
    path = write_kaldi(folder, pipe=False)
    soundfile.write(folder / "audio" / "note.wav", np.zeros((16000, 2)), 16000)
    return path


def truncated(folder):
    path = write_kaldi(folder, pipe=False)
    audio = folder / "audio" / "note.wav"
    audio.write_bytes(audio.read_bytes()[:9000])
    return path


def latin(folder):
    path = write_kaldi(folder, pipe=False)
    (path / "text").write_bytes(b"joe-1 alfa\njoe-2 caf\xe9\nann-1 delta\n")
    return path


def nothing(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


def no_text(folder):
    path = write_kaldi(folder, pipe=False)
    (path / "text").unlink()
    return path


def folder_without_texts(folder):
    path = write_folder(folder)
    (path / "day 1" / "note.txt").unlink()
    return path


def folder_with_an_empty_text(folder):
    path = write_folder(folder)
    (path / "day 1" / "note.txt").write_text(" \n")
    return path


def command_cuts(folder):
    cuts = list(make_cuts(folder))
    recording = Recording("r", [AudioSource("command", [0], f"touch {folder}/ran")], 16000, 16000, 1.0)
    supervision = SupervisionSegment("s", "r", 0, 1.0, text="a")
    CutSet.from_cuts([*cuts, MonoCut("c", 0, 1.0, 0, [supervision], recording=recording)]).to_file(
        folder / "cuts.jsonl"
    )
    return folder / "cuts.jsonl"


def broken_cuts(folder):
    make_cuts(folder).to_file(folder / "cuts.jsonl")
    with open(folder / "cuts.jsonl", "a") as stream:
        stream.write('{"id": "x", "type": "MonoCut"}\n')
    return folder / "cuts.jsonl"


def pickled_shar(folder):
    (folder / "shar").mkdir()
    (folder / "shar" / "cuts.000000.jsonl.gz").write_bytes(b"\x80\x04K\x01.")
    (folder / "shar" / "recording.000000.tar").write_bytes(b"\x80\x04K\x01.")
    return folder / "shar"


def command_shar(folder):
    """Its archive holds features; the audio that its cuts name is a command."""
    cuts = command_cuts(folder)
    (folder / "shar").mkdir()
    (folder / "shar" / "cuts.000000.jsonl").write_text(cuts.read_text().splitlines()[2] + "\n")
    with TarWriter(str(folder / "shar" / "note.000000.tar"), shard_size=None) as archive:
        archive.write("c.nodata", BytesIO())
        archive.write("c.nometa", BytesIO())
    return folder / "shar"


FAULTS = {
    "no such path": (lambda folder: folder / "absent", "absent: no such file or folder"),
    "nothing in it": (nothing, "empty: no utterances in it"),
    "text is missing": (no_text, "kaldi/text: No such file or directory"),
    "audio is missing": (kaldi("wav.scp", "note.wav", "nota.wav"), "kaldi/segments:3: ann-1: "),
    "recording not in wav.scp": (
        kaldi("segments", "ann-1 note", "ann-1 nota"),
        "kaldi/segments:3: nota of ann-1 is not in wav.scp",
    ),
    "too few columns": (kaldi("segments", " 0.75 2.0", " 0.75"), "kaldi/segments:2: 3 columns, not the four"),
    "too many columns": (kaldi("segments", " 0.75 2.0", " 0.75 2.0 A B"), "kaldi/segments:2: 6 columns"),
    "no number": (kaldi("segments", "0.75 2.0", "0.75 two"), "kaldi/segments:2: the end is 'two', not a number"),
    "not finite": (kaldi("segments", "0.75 2.0", "nan 2.0"), "kaldi/segments:2: the start is 'nan'"),
    "ends before it starts": (kaldi("segments", "0.75 2.0", "0.75 0.5"), "kaldi/segments:2: joe-2 ends at 0.5 s"),
    "ends after the recording": (kaldi("segments", "0.75 2.0", "0.75 2.1"), "kaldi/segments:2: joe-2 is from 0.75 to"),
    "overlapping segments": (
        kaldi("segments", "0.75 2.0", "0.1 0.9"),
        "kaldi/segments:2: joe-2 shares 0.65 s with joe",
    ),
    "not UTF-8": (latin, "kaldi/text:2: not UTF-8"),
    "id twice in text": (kaldi("text", "joe-2", "joe-1"), "kaldi/text:2: joe-1 a second time, after "),
    "id twice in wav.scp": (kaldi("wav.scp", "talk ", "note "), "kaldi/wav.scp:2: note a second time"),
    "empty text": (kaldi("text", "joe-2 cocoa 7", "joe-2"), "kaldi/text:2: joe-2 has no text"),
    "segment without text": (kaldi("text", "joe-2 cocoa 7\n", ""), "kaldi/segments:2: joe-2 is not in text"),
    "text without segment": (kaldi("text", "joe-2", "joe-3"), "kaldi/text:2: joe-3 is not in segments"),
    "no speaker": (kaldi("utt2spk", "joe-2", "joe-3"), "kaldi/text:2: joe-2 is not in utt2spk"),
    "audio in an archive": (kaldi("wav.scp", "note.wav", "note.ark:17"), "kaldi/wav.scp:1: "),
    "standard input": (kaldi("wav.scp", "talk /", "talk - /"), "kaldi/wav.scp:2: '- /"),
    "two channels": (stereo, "kaldi/segments:3: ann-1: "),
    "truncated": (truncated, "kaldi/segments:3: ann-1: "),
    "not JSON": (nemo('"id"', "id"), "nemo.json: none of a Kaldi directory, a NeMo manifest"),
    "JSON of another form": (nemo("}\n", "}\n[1]\n"), "nemo.json:2: not an object with the strings"),
    "line of JSON is cut off": (nemo('"speaker": "ann"}', '"spea'), "nemo.json:3: not JSON: "),
    "duration of another type": (nemo("0.75,", "[1],"), "nemo.json:1: duration is '[1]', not a number of seconds"),
    "negative offset": (nemo('"offset": 0.75', '"offset": -1'), "nemo.json:2: offset is '-1'"),
    "path with a null byte": (nemo("audio/note", "audio/\\u0000note"), "nemo.json:3: "),
    "id twice in a manifest": (nemo('"joe-2"', '"joe-1"'), "nemo.json:2: joe-1 is there already"),
    "id with a space": (nemo('"joe-2"', '"joe 2"'), "nemo.json:2: 'joe 2' is empty or has spaces"),
    "no such column": (table("path", "file"), "table.csv:1: the first line should name the columns, path and text"),
    "row of another width": (table("joe-2,", "joe-2,more,"), "table.csv:3: 7 values in 6 columns"),
    "empty path": (table("audio/note.wav", ""), "table.csv:4: the path is empty"),
    "no text beside the audio": (folder_without_texts, "note.wav: there is no note.txt beside it"),
    "empty text beside the audio": (folder_with_an_empty_text, "note.txt: speech-day_1-note has no text"),
    "cuts that run a command": (command_cuts, "cuts.jsonl:3: the audio of cut c is a shell command"),
    "line that is no cut": (broken_cuts, "cuts.jsonl:3: not a lhotse cut"),
    "Shar that runs a command": (command_shar, "shar: the audio of cut c is a shell command"),
    "Shar that is none": (pickled_shar, "shar: not a readable Shar folder"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_line_names_the_place(tmp_path, capsys, fault):
    make, message = FAULTS[fault]
    source = make(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main([str(source), "--out-dir", str(tmp_path / "out"), "--split", "x"])
    errors = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert stopped.value.code == 2 and len(errors) == 1 and message in errors[0], errors
    assert not list(tmp_path.glob("out/*_x.*")) and not (tmp_path / "ran").exists()


def test_no_manifest_makes_a_later_stage_run_a_command(tmp_path):
    source = command_cuts(tmp_path)
    with pytest.raises(ValueError, match="cuts.jsonl:3: the audio of cut c is a shell command: hainan-data"):
        list(StoredCuts(source))
    assert len(list(StoredCuts(source, commands=True))) == 3 and not (tmp_path / "ran").exists()


def test_numbers_of_a_manifest_stay_as_they_are(tmp_path):
    path = write_nemo(tmp_path)
    entry = json.loads(path.read_text().splitlines()[1])
    path.write_text(json.dumps({**entry, "offset": None, "duration": None, "id": None, "speaker": 0}) + "\n")
    main([str(path), "--out-dir", str(tmp_path / "out")])
    (cut,) = CutSet.from_file(tmp_path / "out" / "cuts_nemo.jsonl.gz")
    assert cut.supervisions[0].speaker == "0"
    assert (cut.start, cut.duration) == (0.0, 2.0) and cut.id.endswith("-audio-talk")
