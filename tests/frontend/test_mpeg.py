"""Lengths of MPEG audio: frames are counted, and compared with the number that the file states."""

import io

import numpy as np
import pytest

from hainan_k2.frontend.audio import decode_audio
from hainan_k2.frontend.containers import extent
from hainan_k2.frontend.streams import mpeg_extent
from tests.frontend.containers import frame, u32, without_xing


def test_mp3_without_a_number_of_frames(mp3):
    content = without_xing(mp3.read_bytes())
    mp3.write_bytes(content)
    whole = extent(mp3)
    assert whole.present == whole.stated == 58 and len(decode_audio(mp3)[0]) > 31000
    last = content.rindex(content[:2])
    for size in (last + 1, last + 3, last + 4, len(content) - 1):
        mp3.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"truncated: \d.\d\d s, 57 frames are whole and the last"):
            decode_audio(mp3)
    mp3.write_bytes(content[:last])  # between two frames: nothing can tell
    assert extent(mp3).stated == 57


TAG = b"ID3\x04\0\0\0\0\x01\x00" + bytes(128)


@pytest.mark.parametrize(
    "before, after",
    [
        (TAG, b""),
        (TAG + TAG, b""),
        (b"", b"TAG" + bytes(125)),
        (b"", bytes(1000)),
        (b"", b"APETAGEX" + b"\xff\xfb\x90" * 300),
        (TAG, TAG),
    ],
)
@pytest.mark.parametrize("xing", [True, False])
def test_tags_of_an_mp3_are_no_frames(mp3, before, after, xing):
    content = mp3.read_bytes()
    content = content if xing else without_xing(content)
    mp3.write_bytes(before + content + after)
    measured = extent(mp3)
    assert measured.present == measured.stated == 58
    if not before.startswith(TAG + TAG):  # libsndfile itself passes over one
        assert len(decode_audio(mp3)[0]) > 31000


def test_two_mp3s_in_one_file(mp3):
    content = mp3.read_bytes()
    mp3.write_bytes(content + content)
    with pytest.raises(ValueError, match=r"several recordings in one file \(58 of 117 frames are of the first\)"):
        decode_audio(mp3)
    mp3.write_bytes(2 * without_xing(content))
    assert len(decode_audio(mp3)[0]) > 62000  # frames alone go on


@pytest.mark.parametrize("count, verdict", [(50, 1), (57, 0), (58, 0), (59, 0), (60, -1)])
def test_encoders_count_the_header_of_an_mp3_or_not(mp3, count, verdict):
    content = bytearray(mp3.read_bytes())
    at = content.index(b"Xing")
    content[at + 8 : at + 12] = u32(count, "big")
    mp3.write_bytes(content)
    measured = extent(mp3)
    assert np.sign(measured.present - measured.stated) == verdict


def test_frames_that_are_lost_in_the_middle_of_an_mp3(mp3):
    content = mp3.read_bytes()
    mp3.write_bytes(content[:5000] + content[7000:])
    with pytest.raises(ValueError, match=r"truncated: .* of 58 frames are there"):
        decode_audio(mp3)


@pytest.mark.parametrize(
    "header, size",
    [
        ("fffb9064", 417),
        ("fffb9264", 418),
        ("fff384c4", 192),
        ("ffe384c4", 384),
        ("fffd8404", 384),
        ("fff58804", 576),
        ("ffff9804", 432),
        ("fff79404", 288),
    ],
    ids=["1-III", "padded", "2-III", "2.5-III", "1-II", "2-II", "1-I", "2-I"],
)
def test_sizes_of_mpeg_frames(header, size):
    """The tables of ISO 11172-3 and 13818-3, worked out by hand: 144 (72, 48) * bit rate / sampling rate."""
    whole = mpeg_extent(io.BytesIO(3 * frame(header, size)), 0)
    assert whole.present == whole.stated == 3
    assert mpeg_extent(io.BytesIO(3 * frame(header, size - 1)), 0).present < 3


def test_no_length_for_free_bit_rates_and_without_frames():
    assert mpeg_extent(io.BytesIO(bytes.fromhex("fffb0064") * 300), 0) is None
    assert mpeg_extent(io.BytesIO(b"\xff\xfeh\0i\0"), 0) is None
