"""Which files the arguments of transcribe.py name: nothing is left out without a word, no bad name costs another."""

import errno
import io
import os
import subprocess
import sys
import urllib.parse
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hainan_k2.files.text_tables import printable
from hainan_k2.inference.inputs import Inputs, find_audio, search_folder, utterance_id


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def summary(items, root):
    """(path below the root, "" or why it fails or is skipped) of every item."""
    return [(os.path.relpath(i.path, root), (i.failure or i.skipped).replace(f"{root}/", "")) for i in items]


def test_links_to_folders_are_followed_once_and_circles_are_skipped(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    for name in ("b/x.wav", "z.flac"):
        touch(root / name)
    touch(other / "y.wav")
    (root / "a").symlink_to(root / "b")  # sorted before the folder itself, whose own name is used
    (root / "b" / "up").symlink_to(root)
    (root / "c").symlink_to(other)
    (root / "d").symlink_to(other)
    (other / "back").symlink_to(tmp_path)
    items = search_folder(str(root))
    assert summary(items, root) == [
        ("a", f"the folder {root}/b again".replace(f"{root}/", "")),
        ("b/up", f"the folder {root} again"),
        ("b/x.wav", ""),
        ("c/back/other", "the folder c again"),
        ("c/back/root", f"the folder {root} again"),
        ("c/y.wav", ""),
        ("d", "the folder c again"),
        ("z.flac", ""),
    ]
    assert [i.place for i in items if not i.skipped] == ["b/x.wav", "c/y.wav", "z.flac"]


def test_paths_that_are_no_files_are_named(tmp_path, caplog):
    caplog.set_level("INFO")
    touch(tmp_path / "a.wav")
    touch(tmp_path / "notes.txt")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nothing")
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    (tmp_path / "self.wav").symlink_to(tmp_path / "self.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    os.mkfifo(tmp_path / "pipe")
    items = search_folder(str(tmp_path))
    assert summary(items, tmp_path) == [
        ("a.wav", ""),
        ("gone", "a link that leads nowhere"),
        ("gone.wav", "gone.wav: a link that leads nowhere"),
        ("pipe", "a named pipe, not a file"),
        ("pipe.wav", "pipe.wav: a named pipe, not a file"),
        ("self.wav", f"self.wav: {os.strerror(errno.ELOOP)}"),
    ]
    assert [i.path for i in items if i.skipped] == [f"{tmp_path}/gone", f"{tmp_path}/pipe"]
    assert f"{tmp_path}: left out 1 files without an audio file ending" in caplog.text
    inputs = Inputs([str(tmp_path), f"{tmp_path}/a.wav"], lambda path: False)
    assert len(list(inputs)) == 4 and inputs.left_out == {"skipped": 2, "named more than once": 1}
    assert f"skipped: {tmp_path}/pipe: a named pipe, not a file" in caplog.text


def test_a_folder_that_cannot_be_read_costs_no_other(tmp_path, monkeypatch):
    touch(tmp_path / "a" / "x.wav")
    touch(tmp_path / "locked" / "y.wav")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert summary(search_folder(str(tmp_path)), tmp_path) == [
        ("a/x.wav", ""),
        ("locked", "locked: folder cannot be read: Permission denied"),
    ]
    assert [i.failure for i in search_folder(str(tmp_path / "locked"))] == [
        f"{tmp_path}/locked: folder cannot be read: Permission denied"
    ]


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    touch(tmp_path / "a.wav")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("a.wav") and access(path, mode))
    touch(tmp_path / "b.wav")
    assert summary(search_folder(str(tmp_path)), tmp_path) == [("a.wav", "a.wav: Permission denied"), ("b.wav", "")]


def test_bad_arguments_are_failures_among_the_others(tmp_path):
    good = str(touch(tmp_path / "a.wav"))
    (tmp_path / "empty").mkdir()
    long, inside = "x" * 300, f"{good}/b.wav"
    arguments = [good, long, inside, f"{tmp_path}/none.wav", f"{tmp_path}/empty", f"{tmp_path}/*.mp3", long + "*", good]
    items = list(find_audio(arguments))
    assert [i.failure for i in items] == [
        "",
        f"{long}: File name too long",
        f"{inside}: Not a directory",
        f"{tmp_path}/none.wav: no such file",
        f"{tmp_path}/empty: no audio files in this folder",
        f"{tmp_path}/*.mp3: no audio file matches this pattern",
        f"{long}*: no audio file matches this pattern",
        "",
    ]


def test_paths_on_standard_input_need_not_be_text(tmp_path, monkeypatch):
    odd = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    with open(odd, "wb"):
        pass
    lines = odd + b"\n\nnull\0byte.wav\n" + b"y" * 300 + b"\n-\n"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines)))
    first, null, long, dash = find_audio(["-"])
    assert os.fsencode(first.path) == odd and not first.failure and first.place == "caf\udce9.wav"
    assert "null" in null.failure and "too long" in long.failure and dash.failure == "-: no such file"


NAMES = st.one_of(st.text(alphabet="a %/_\u00a0\u3000\t\n2é", max_size=8), st.binary(max_size=6).map(os.fsdecode))


@given(st.lists(NAMES, max_size=6, unique=True))
@example(["a b.wav", "a_b.wav", "a%20b.wav", "caf\udce9.wav", "café.wav"])
def test_ids_are_distinct_without_spaces_and_give_back_the_path(names):
    ids = [utterance_id(name) for name in names]
    assert len(set(ids)) == len(names)
    for name, utterance in zip(names, ids):
        assert urllib.parse.unquote(utterance, errors="surrogateescape") == name
        assert utterance.split() == [utterance] * bool(name) and utterance.encode() is not None
        assert printable(name).isprintable()
    assert utterance_id("talks/interview-01.wav") == "talks/interview-01.wav"


def test_names_are_shown_with_their_bytes():
    assert printable("caf\udce9 no. 1\n.wav") == "caf\\xe9 no. 1\\x0a.wav"


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes")
def test_a_name_in_the_arguments_of_a_process_may_be_bytes(tmp_path):
    code = (
        "import sys; from hainan_k2.files.text_tables import printable\n"
        "from hainan_k2.inference.inputs import find_audio\n"
        "print(printable(next(find_audio(sys.argv[1:])).failure))"
    )
    run = subprocess.run([sys.executable, "-c", code, b"/caf\xe9.wav"], capture_output=True, text=True, check=True)
    assert run.stdout == "/caf\\xe9.wav: no such file\n"
