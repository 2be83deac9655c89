"""Atomic writes: the old file or the new one, whatever fails, and no other files."""

import errno
import os
import stat

import pytest

from hainan_k2.files.atomic import atomic_file, atomic_text, remove_partial_files, write_atomic


def test_text_and_bytes(tmp_path):
    write_atomic(tmp_path / "a", "größer\n")
    assert (tmp_path / "a").read_bytes() == "größer\n".encode()
    write_atomic(str(tmp_path / "a"), b"\x00")
    assert (tmp_path / "a").read_bytes() == b"\x00" and os.listdir(tmp_path) == ["a"]
    (tmp_path / "plain").write_text("")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_stream_of_text(tmp_path):
    with atomic_text(tmp_path / "a") as stream:
        stream.write("größer\r\n")
    assert (tmp_path / "a").read_bytes() == "größer\r\n".encode()
    with pytest.raises(ZeroDivisionError), atomic_text(tmp_path / "a") as stream:
        stream.write("new")
        1 / 0  # noqa: B018
    assert (tmp_path / "a").read_bytes() == "größer\r\n".encode() and os.listdir(tmp_path) == ["a"]


def full_disk(monkeypatch, name):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, name, fail)


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_names_it(tmp_path, monkeypatch, name):
    write_atomic(tmp_path / "a", "old")
    full_disk(monkeypatch, name)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/a'"):
        write_atomic(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_an_exception_in_the_block_passes_through(tmp_path):
    write_atomic(tmp_path / "a", "old")
    for error in (KeyboardInterrupt(), ZeroDivisionError(), FileNotFoundError(errno.ENOENT, "none", "other")):
        with pytest.raises(type(error)) as caught, atomic_file(tmp_path / "a") as stream:
            stream.write(b"half")
            raise error
        assert caught.value is error
    assert (tmp_path / "a").read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"No such file or directory: '{tmp_path}/none/a'"):
        write_atomic(tmp_path / "none" / "a", "x")


def test_links_and_devices_are_preserved(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_atomic(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"
    write_atomic("/dev/null", "nothing")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path, "x")


def test_long_names(tmp_path):
    write_atomic(tmp_path / ("n" * 255), "x")
    assert os.listdir(tmp_path) == ["n" * 255]


def test_partial_files_of_killed_processes_are_removed(tmp_path):
    stream = atomic_file(tmp_path / "a")
    stream.__enter__().write(b"half")  # and the process is killed
    (tmp_path / ".hidden").write_text("mine")
    assert len(os.listdir(tmp_path)) == 2
    assert remove_partial_files(tmp_path) == 1 and os.listdir(tmp_path) == [".hidden"]
