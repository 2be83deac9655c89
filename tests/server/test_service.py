"""The service without HTTP: which method searches what, and recordings that are read from memory."""

import io
import logging
import tempfile

import numpy as np
import pytest

from hainan_k2.frontend.audio import UnknownFormat, audio_blocks, read_audio
from hainan_k2.frontend.content import AudioContent
from hainan_k2.server.service import TooLong, read_recording
from tests.report.pages import JFK
from tests.server.conftest import load


def content(data, name="a.wav"):
    return AudioContent(name, io.BytesIO(data))


def test_streams_take_the_method_of_files_where_they_can(model, caplog):
    caplog.set_level(logging.INFO)
    assert load(model, "nar-greedy").stream_row.method == "nar-greedy" and "streams" not in caplog.text
    assert load(model, "sar").stream_row.method == "ar-greedy"
    assert "method sar needs whole recordings" in caplog.text


@pytest.mark.parametrize("make", [io.BytesIO, lambda data: tempfile.SpooledTemporaryFile(10)])
def test_a_recording_in_memory_is_the_file(make):
    file = make(JFK.read_bytes())
    if not isinstance(file, io.BytesIO):
        file.write(JFK.read_bytes())
    for _ in range(2):  # it is read from its beginning, wherever it stands
        np.testing.assert_array_equal(np.concatenate(list(audio_blocks(AudioContent("a", file)))), read_audio(JFK))
    assert not file.closed


def test_what_cannot_be_read_is_named():
    data = JFK.read_bytes()
    with pytest.raises(UnknownFormat, match="^notes.txt: not an audio file"):
        read_recording(content(b"these are notes", "notes.txt"), 60)
    with pytest.raises(TooLong, match="^a.wav: longer than 5 s"):
        read_recording(content(data), 5)
    with pytest.raises(ValueError, match="^cut.flac: truncated"):
        read_recording(content(data[:50000], "cut.flac"), 60)
    recording = read_recording(content(data), 11)
    assert recording.seconds == 11.0 and recording.name == "a.wav"
