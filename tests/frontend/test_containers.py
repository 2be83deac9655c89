"""Containers and their stated lengths: intact files are read completely, truncated ones refused."""

import io

import numpy as np
import pytest
import soundfile

from hainan_k2.frontend.audio import decode_audio
from hainan_k2.frontend.containers import MAX_CHUNKS, extent
from hainan_k2.frontend.streams import mpeg_extent, ogg_extent
from tests.frontend.containers import KINDS, NAMES, UNTOLD, frame, ogg_pages, u32, without_length, write


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
    """The size in bytes up to the last byte that `path` needs."""
    content, whole = path.read_bytes(), extent(path)
    assert whole.present == whole.stated
    return next(
        size
        for size in range(len(content), 0, -1)
        if path.write_bytes(content[: size - 1]) and extent(path).present < whole.stated
    )


@pytest.mark.parametrize("container", UNTOLD[:4])
def test_containers_without_a_length_are_read_to_their_end(tmp_path, container):
    path, samples = write(tmp_path, container, "DPCM_16" if container == "XI" else "PCM_16")
    path.write_bytes(path.read_bytes()[:40000])
    assert extent(path) is None and 0 < len(decode_audio(path)[0]) < len(samples)


def test_errors_name_the_seconds_present_and_stated(tmp_path, mp3):
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


def test_a_header_without_samples(tmp_path):
    for container, header in (("WAV", 44), ("AIFF", 54), ("AU", 24)):
        path, _ = write(tmp_path, container, "PCM_16")
        path.write_bytes(path.read_bytes()[:header])
        with pytest.raises(ValueError, match="truncated: 0 of 64000 bytes of samples are there"):
            decode_audio(path)


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
def test_placeholder_lengths_of_programs_that_write_to_pipes(tmp_path, container, at, size):
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


def test_three_gigabytes_are_not_a_placeholder_length(tmp_path):
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


def test_a_damaged_page_is_reported(tmp_path):
    path, _ = write(tmp_path, "OGG", "VORBIS", seconds=30.0)
    pages = ogg_pages(path.read_bytes())
    pages[3] = pages[3][:-50] + bytes(50)  # its checksum does not fit, and libogg leaves it out
    path.write_bytes(b"".join(pages))
    with pytest.raises(ValueError, match=r"truncated or damaged: 2\d.\d\d of the 30.00 s in its header decode"):
        decode_audio(path)


class Counting(io.BytesIO):
    """A file that counts the bytes read."""

    count = 0

    def read(self, size=-1):
        content = super().read(size)
        self.count += len(content)
        return content


@pytest.mark.parametrize("junk", [b"\xff", b"\xff\xfb\x90\x64", b"Ogg", b"OggS"])
def test_damage_is_skipped_in_little_more_than_one_pass(junk):
    for walk, start in ((mpeg_extent, frame("fffb9064", 417)), (ogg_extent, b"OggS\0\2".ljust(27, b"\0"))):
        file = Counting(start + junk * (400_000 // len(junk)))
        walk(file, 0)
        assert file.count < 12_000_000


def test_a_header_with_too_many_chunks(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF\0\0\0\0WAVE" + b"JUNK\0\0\0\0" * (MAX_CHUNKS + 1))
    with pytest.raises(ValueError, match=f"a.wav: over {MAX_CHUNKS} chunks before its samples"):
        decode_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("container, encoding", [kind for kind in KINDS if kind[1] in ("FLOAT", "DOUBLE")])
def test_samples_that_are_not_finite(tmp_path, container, encoding):
    for bad in (np.nan, np.inf, -np.inf, 1e30):
        soundfile.write(tmp_path / "a", np.array([0.0, bad, 0.5, bad]), 16000, format=container, subtype=encoding)
        with pytest.raises(ValueError, match="a: 2 of 4 samples are not finite, or beyond"):
            decode_audio(tmp_path / "a")
