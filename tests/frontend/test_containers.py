"""What the containers of libsndfile state about their length: intact files are read whole, truncated ones refused."""

import io

import numpy as np
import pytest
import soundfile

from hainan_k2.frontend.audio import decode_audio
from hainan_k2.frontend.containers import MAX_CHUNKS, extent
from hainan_k2.frontend.streams import mpeg_extent, ogg_extent
from tests.frontend.containers import KINDS, NAMES, UNTOLD, ogg_pages, without_length, without_xing, write


@pytest.fixture
def mp3(tmp_path):
    return write(tmp_path, "MP3", "MPEG_LAYER_III")[0]


@pytest.mark.parametrize("container, encoding", KINDS, ids=NAMES)
def test_intact_files_are_read_whole(tmp_path, container, encoding):
    path, samples = write(tmp_path, container, encoding)
    decoded = decode_audio(path)[0][:, 0]
    assert len(samples) <= len(decoded) < len(samples) + 800  # whole blocks of samples
    assert np.corrcoef(samples, decoded[: len(samples)])[0, 1] > 0.75


@pytest.mark.parametrize(
    "container, encoding",
    [kind for kind in KINDS if kind[0] not in UNTOLD],
    ids=[name for name in NAMES if not name.startswith(UNTOLD)],
)
def test_truncated_files_are_refused(tmp_path, container, encoding):
    path, _ = write(tmp_path, container, encoding)
    content = path.read_bytes()
    message = "not an audio file" if container == "HTK" else "truncated"  # HTK is known by its size alone
    for keep in (0.3, 0.5, 0.9):
        path.write_bytes(content[: int(keep * len(content))])
        with pytest.raises(ValueError, match=f"^{path}: {message}"):
            decode_audio(path)


@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU", "W64", "RF64", "VOC", "NIST", "AVR", "SVX", "MAT5"])
def test_one_byte_is_missing(tmp_path, container):
    path, _ = write(tmp_path, container, "PCM_16")
    content = path.read_bytes()[: extent_end(path)]
    path.write_bytes(content)
    assert len(decode_audio(path)[0]) == 32000
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"truncated: 2.00 of 2.00 s, 6\d{4} of \d+ bytes of samples are there: copy"):
        decode_audio(path)


def extent_end(path):
    """The last byte without which `path` is whole."""
    content, whole = path.read_bytes(), extent(path)
    assert whole.present == whole.stated
    return next(
        size
        for size in range(len(content), 0, -1)
        if path.write_bytes(content[: size - 1]) and extent(path).present < whole.stated
    )


@pytest.mark.parametrize("container", UNTOLD[:4])
def test_what_states_no_length_is_read_as_far_as_it_goes(tmp_path, container):
    path, samples = write(tmp_path, container, "DPCM_16" if container == "XI" else "PCM_16")
    path.write_bytes(path.read_bytes()[:40000])
    assert extent(path) is None and 0 < len(decode_audio(path)[0]) < len(samples)


def test_seconds_that_are_there_and_stated(tmp_path, mp3):
    for container in ("WAV", "AIFF", "AU", "W64", "RF64", "VOC", "NIST", "CAF"):
        path, _ = write(tmp_path, container, "PCM_16")
        path.write_bytes(path.read_bytes()[:16044])
        with pytest.raises(ValueError, match=r"truncated: 0.\d\d of 2.00 s, 1\d{4} of 64\d{3} bytes of samples"):
            decode_audio(path)
    path, _ = write(tmp_path, "SDS", "PCM_16")
    path.write_bytes(path.read_bytes()[:50000])
    with pytest.raises(ValueError, match=r"truncated: 0.98 of 2.00 s, 49979 of 101600 bytes of samples"):
        decode_audio(path)
    mp3.write_bytes(mp3.read_bytes()[:7000])
    with pytest.raises(ValueError, match=r"truncated: 0.97 of 2.09 s, 27 of 58 frames are there"):
        decode_audio(mp3)


def test_no_samples_but_a_header(tmp_path):
    for container, header in (("WAV", 44), ("AIFF", 54), ("AU", 24)):
        path, _ = write(tmp_path, container, "PCM_16")
        path.write_bytes(path.read_bytes()[:header])
        with pytest.raises(ValueError, match="truncated: 0 of 64000 bytes of samples are there"):
            decode_audio(path)


def u32(value, order="little"):
    return value.to_bytes(4, order)


@pytest.mark.parametrize(
    "container, at, size",
    [
        ("WAV", 40, u32(0xFFFFFFFF)),
        ("WAV", 40, u32(0x7FFFF000 // 6 * 6)),
        ("WAV", 40, u32(0x80000000)),
        ("AU", 8, u32(0xFFFFFFFF)),
        ("AIFF", 42, u32(0x7F000008, "big")),
        ("W64", 96, (2**63 - 1).to_bytes(8, "little")),
    ],
    ids=["ffmpeg", "sox", "arecord", "au", "sox-aiff", "w64"],
)
def test_lengths_that_writers_to_pipes_leave_open(tmp_path, container, at, size):
    path, samples = write(tmp_path, container, "PCM_16")
    content = bytearray(path.read_bytes())
    assert int.from_bytes(content[at : at + len(size)], "big" if container in ("AU", "AIFF") else "little") in (
        64000,
        64008,
        64024,
    ), "the size of the samples is not there"
    content[at : at + len(size)] = size
    path.write_bytes(content)
    assert extent(path) is None and len(decode_audio(path)[0]) == len(samples)


def test_voc_states_16_megabytes_at_most(tmp_path):
    path, samples = write(tmp_path, "VOC", "PCM_16")
    content = bytearray(path.read_bytes())
    content[27:30] = (500).to_bytes(3, "little")  # as if the rest were a multiple of 16 MB
    path.write_bytes(content)
    assert extent(path).present == extent(path).stated == 500 and len(decode_audio(path)[0]) == len(samples)


def test_three_gigabytes_are_not_a_length_left_open(tmp_path):
    path, _ = write(tmp_path, "WAV", "PCM_16")
    content = bytearray(path.read_bytes())
    content[40:44] = u32(3_000_000_000)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="truncated: 2.00 of 93750.00 s"):
        decode_audio(path)


def test_flac_without_a_length(tmp_path):
    path, samples = write(tmp_path, "FLAC", "PCM_16")
    path.write_bytes(without_length(path.read_bytes()))
    assert len(decode_audio(path)[0]) == len(samples)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated or damaged: its samples do not all decode"):
        decode_audio(path)


@pytest.mark.parametrize("encoding", ["VORBIS", "OPUS"])
def test_ogg(tmp_path, encoding):
    path, samples = write(tmp_path, "OGG", encoding, seconds=30.0)
    content = path.read_bytes()
    pages = ogg_pages(content)
    assert len(pages) > 5
    path.write_bytes(b"".join(pages[:-1]))  # cut exactly between two pages
    with pytest.raises(ValueError, match=rf"truncated: 2\d.\d\d s, {len(pages) - 1} pages are whole and"):
        decode_audio(path)
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="truncated: .*pages are whole and the last one is missing"):
        decode_audio(path)
    path.write_bytes(content + bytes(500))  # what follows the last page is no page
    assert len(decode_audio(path)[0]) == len(samples)
    path.write_bytes(content + content)
    with pytest.raises(ValueError, match=rf"several recordings in one file \({len(pages)} of {2 * len(pages)} pages"):
        decode_audio(path)


def test_a_damaged_page_is_a_hole_that_is_told(tmp_path):
    path, _ = write(tmp_path, "OGG", "VORBIS", seconds=30.0)
    pages = ogg_pages(path.read_bytes())
    pages[3] = pages[3][:-50] + bytes(50)  # its checksum does not fit, and libogg leaves it out
    path.write_bytes(b"".join(pages))
    with pytest.raises(ValueError, match=r"truncated or damaged: 2\d.\d\d of the 30.00 s in its header decode"):
        decode_audio(path)


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


def frame(header, size):
    return bytes.fromhex(header).ljust(size, b"\0")


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


def test_free_bit_rates_and_no_frames_at_all_say_nothing():
    assert mpeg_extent(io.BytesIO(bytes.fromhex("fffb0064") * 300), 0) is None
    assert mpeg_extent(io.BytesIO(b"\xff\xfeh\0i\0"), 0) is None


class Counting(io.BytesIO):
    """How many bytes are read of a file."""

    count = 0

    def read(self, size=-1):
        content = super().read(size)
        self.count += len(content)
        return content


@pytest.mark.parametrize("junk", [b"\xff", b"\xff\xfb\x90\x64", b"Ogg", b"OggS"])
def test_damage_is_passed_over_in_little_more_than_one_reading(junk):
    for walk, start in ((mpeg_extent, frame("fffb9064", 417)), (ogg_extent, b"OggS\0\2".ljust(27, b"\0"))):
        file = Counting(start + junk * (400_000 // len(junk)))
        walk(file, 0)
        assert file.count < 12_000_000


def test_a_header_without_end(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF\0\0\0\0WAVE" + b"JUNK\0\0\0\0" * (MAX_CHUNKS + 1))
    with pytest.raises(ValueError, match=f"a.wav: over {MAX_CHUNKS} chunks before its samples"):
        decode_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("container, encoding", [kind for kind in KINDS if kind[1] in ("FLOAT", "DOUBLE")])
def test_samples_that_are_not_finite(tmp_path, container, encoding):
    for bad in (np.nan, np.inf, -np.inf, 1e30):
        soundfile.write(tmp_path / "a", np.array([0.0, bad, 0.5, bad]), 16000, format=container, subtype=encoding)
        with pytest.raises(ValueError, match="a: 2 of 4 samples are not finite, or beyond"):
            decode_audio(tmp_path / "a")
