"""The readers of two more games, and labels by two models, on small files in the same formats."""

import gzip
import json
import struct
import sys
from collections import Counter

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import CutSet

from tests.recipes.shell import ROOT

sys.path.insert(0, str(ROOT / "recipes" / "amazon_queen" / "local"))

import drascula
import more_speech
import sky_cuts
import sky_labels
import whisper_decoder
from propack import checksum, unpack
from steel_sky import SteelSky


class Packer:
    """Writes the format that propack reads: each word of bits stands where a reader one word ahead fetches it."""

    def __init__(self):
        self.bits, self.places, self.out, self.at, self.count = [], [], bytearray(), 0, 16
        self.put(0, 0)

    def put(self, count, value):
        self.bits += [value >> i & 1 for i in range(count)]
        self.count -= count
        if self.count < 16:
            self.places.append(self.at)
            self.at += 2
            self.count += 16

    def literals(self, data):
        self.out[len(self.out) :] = bytes(max(0, self.at - len(self.out)))
        self.out[self.at : self.at + len(data)] = data
        self.at += len(data)

    def finish(self):
        bits = self.bits + [0] * 48
        self.out += bytes(self.at + 4 - len(self.out))
        for i, place in enumerate([*self.places, self.at, self.at + 2]):
            word = sum(bit << k for k, bit in enumerate(bits[16 * i : 16 * i + 16]))
            self.out[place : place + 2] = struct.pack("<H", word)
        return bytes(self.out)


def put_value(packer, value):
    """Write a number: one of 16 symbols, with a code of 4 bits, and the bits below the highest."""
    symbol = value.bit_length() if value > 1 else value
    packer.put(4, int(f"{symbol:04b}"[::-1], 2))
    if symbol > 1:
        packer.put(symbol - 1, value - (1 << symbol - 1))


def packed(pairs, per_block=3):
    """Pack pairs (literals, (distance, length)); returns packed and unpacked data. A block ends without a match."""
    packer, plain = Packer(), bytearray()
    packer.put(2, 0)
    for start in range(0, len(pairs), per_block):
        block = pairs[start : start + per_block]
        for _ in range(3):
            packer.put(5, 16)
            for _ in range(16):
                packer.put(4, 4)
        packer.put(16, len(block))
        for i, (literals, (distance, length)) in enumerate(block):
            put_value(packer, len(literals))
            if literals:
                packer.literals(literals)
                plain += literals
            if i < len(block) - 1 and plain:
                distance = 1 + distance % len(plain)
                put_value(packer, distance - 1)
                put_value(packer, length - 2)
                for _ in range(length):
                    plain.append(plain[-distance])
    body = packer.finish()
    header = struct.pack(">4sIIHHH", b"RNC\x01", len(plain), len(body), checksum(plain), checksum(body), 0)
    return header + body, bytes(plain)


PAIRS = st.lists(
    st.tuples(st.binary(min_size=1, max_size=40), st.tuples(st.integers(0, 10**6), st.integers(2, 300))),
    min_size=1,
    max_size=9,
)


@settings(max_examples=40, deadline=None)
@given(PAIRS)
def test_unpacking_is_the_inverse_of_packing(pairs):
    data, plain = packed(pairs)
    assert unpack(data) == plain


def test_the_checksum_is_crc_16():
    assert checksum(b"123456789") == 0xBB3D


def test_damaged_packed_data_is_an_error():
    data, _ = packed([(b"abcabc", (2, 9)), (b"xyz", (0, 5))])
    with pytest.raises(ValueError, match="begins with b'RIFF'"):
        unpack(b"RIFF" + data[4:])
    with pytest.raises(ValueError, match="truncated"):
        unpack(data[:-3])
    with pytest.raises(ValueError, match="checksum differs"):
        unpack(data[:30] + bytes([data[30] ^ 1]) + data[31:])


def sky(folder, speech, gap=64):
    """Write sky.dnr and sky.dsk with entries {number: (data after the header, whether offsets count paragraphs)}."""
    disk, index = bytearray(), b""
    for number, (data, paragraphs) in speech.items():
        disk += bytes(-len(disk) % gap)
        place = len(disk) // 16 | 1 << 23 if paragraphs else len(disk)
        data = bytes(22) + data
        index += struct.pack("<H", number) + place.to_bytes(3, "little") + (len(data) | 3 << 22).to_bytes(3, "little")
        disk += data
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sky.dnr").write_bytes(struct.pack("<I", len(speech)) + index)
    (folder / "sky.dsk").write_bytes(bytes(disk))
    return folder


def test_lines_without_transcripts(tmp_path):
    second = bytes(range(256)) * 44
    sky(tmp_path / "p", {50001: (second, False), 50002: (second[:100], False), 50003: (2 * second, False)})
    for hours, names in ((1.0, {"sky-50001", "sky-50003"}), (1 / 3600, {"sky-50003"})):
        sky_cuts.write_cuts(sky_cuts.SkyConfig(str(tmp_path / "p"), str(tmp_path / "out"), hours, seed=1))
        cuts = CutSet.from_file(tmp_path / "out" / "cuts.jsonl.gz").to_eager()
        assert {cut.id for cut in cuts} == names, "entries of less than 0.3 s are no lines"
    assert cuts[0].duration == pytest.approx(2 * len(second) / 11025, abs=1e-3) and not cuts[0].supervisions
    assert cuts[0].load_audio().shape == (1, cuts[0].num_samples) and cuts[0].sampling_rate == 16000
    with pytest.raises(ValueError, match="has no .*sky.dnr: unpack the packages"):
        sky_cuts.write_cuts(sky_cuts.SkyConfig(str(tmp_path / "out"), str(tmp_path / "x")))


def test_lines_of_a_steel_sky(tmp_path):
    data, plain = packed([(bytes(range(100, 140)), (3, 20)), (b"\x80" * 10, (0, 7))])
    game = SteelSky(sky(tmp_path, {41: (b"not speech", False), 50001: (b"\x80\x00\xff", False), 50007: (data, True)}))
    assert game.numbers == [50001, 50007]
    assert game.samples(50001).tolist() == [0.0, -1.0, 127 / 128]
    assert np.array_equal(game.samples(50007), np.frombuffer(plain, np.uint8) / np.float32(128) - 1)
    (tmp_path / "sky.dsk").write_bytes((tmp_path / "sky.dsk").read_bytes()[:-4])
    with pytest.raises(ValueError, match="sky.dsk is truncated: entry 50007 is incomplete"):
        SteelSky(tmp_path).samples(50007)
    (tmp_path / "sky.dnr").write_bytes(struct.pack("<I", 9))
    with pytest.raises(ValueError, match="are too few for 9 entries"):
        SteelSky(tmp_path)
    with pytest.raises(ValueError, match="lacks sky.dnr or sky.dsk"):
        SteelSky(tmp_path / "absent")


def text_table(texts):
    body = b""
    for text in texts:
        data = text.encode("latin1") + b"\0" * (2 + -len(text) % 4)
        body += struct.pack(">H", len(data) + 2) + data
    return struct.pack(">HHH", len(texts), len(body), 0) + body


def vampire(folder):
    """Write the game's texts, in English and in another language, and some sounds."""
    tables = b""
    for number, (prefix, (_, count)) in enumerate(drascula.CHARACTERS.items()):
        english = ["", *(f"{prefix or 'A'} LINE {i}" for i in range(1, count))]
        tables += bytes(number) + text_table(english) + text_table(["", *("OTRA LINEA" for _ in range(1, count))])
    folder.mkdir(parents=True)
    (folder / "drascula.dat").write_bytes(b"DRASCULA\x06\x00" + tables)
    for name in ("1", "2", "BJ7", "VB62", "X1"):
        (folder / f"{name}.ALS").write_bytes(bytes(32) + bytes(range(256)) * 40)
    return folder


def test_lines_of_drascula(tmp_path):
    folder = vampire(tmp_path / "g")
    lines = list(drascula.lines(folder))
    assert [(line.speaker, line.name, line.text) for line in lines] == [
        ("hacker", "1", "A LINE 1"),
        ("hacker", "2", "A LINE 2"),
        ("blonde", "bj7", "BJ LINE 7"),
        ("braun", "vb62", "VB LINE 62"),
    ]
    assert drascula.samples(lines[0].path)[:2].tolist() == [-1.0, -127 / 128]
    (folder / "drascula.dat").write_bytes((folder / "drascula.dat").read_bytes()[:5000])
    with pytest.raises(ValueError, match="has no table of 501 texts for hacker"):
        list(drascula.lines(folder))
    (folder / "drascula.dat").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match="is not drascula.dat: it begins with b'RIFF'"):
        list(drascula.lines(folder))


def test_two_models_agree_on_most_words():
    assert sky_labels.agree("a b c", "a b c", 0.0)
    assert sky_labels.agree("a x c", "a b c", 0.34) and not sky_labels.agree("a x c", "a b c", 0.33)
    assert not sky_labels.agree("", "a", 0.9) and not sky_labels.agree("a", "", 0.9)


class Whisper:
    def __init__(self, text):
        self.text, self.calls = text, 0

    def recognise(self, samples, window):
        self.calls += 1
        return self.text.format(len(samples))


def test_labels_are_stored_and_not_made_again(tmp_path):
    line = bytes([128]) * 8000  # 0.73 s
    sky(tmp_path / "p", {50001: (line, False), 50002: (line + line, False), 50003: (bytes(100), False)})
    game = SteelSky(more_speech.find(tmp_path / "p", "**/sky.dnr").parent)
    models = [Whisper("Say {} now."), Whisper("say, {} Now")]
    labels, dropped = tmp_path / "labels.jsonl", Counter()
    lines = list(sky_labels.sky_lines(game, labels, lambda: models, 0.34, dropped))
    assert [utterance.text for utterance in lines] == [
        "say eleven thousand six hundred ten now",
        "say twenty three thousand two hundred twenty now",
    ]
    assert dropped == {"shorter than 0.3 s or longer than 30.0 s": 1}
    entries = [json.loads(entry) for entry in labels.read_text().splitlines()]
    assert [entry["number"] for entry in entries] == [50001, 50002] and models[0].calls == 2

    entries[1]["texts"][0] = "quite another thing"
    labels.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    lines = list(sky_labels.sky_lines(game, labels, lambda: pytest.fail("labelled again"), 0.34, dropped))
    assert [utterance.name for utterance in lines] == ["50001"] and dropped["two models disagree"] == 1


def test_the_command_writes_the_lines_with_texts(tmp_path, monkeypatch, caplog):
    vampire(tmp_path / "packages/usr/drascula/en")
    sounds = tmp_path / "packages/sounds/en_US_f_Allison/dictate"
    sounds.mkdir(parents=True)
    for name in ("play", "../agent-on", "../agenton"):
        soundfile.write(sounds / f"{name}.wav", np.full(4000, 0.1), 8000)
    with gzip.open(tmp_path / "packages/core-sounds-en.txt.gz", "wt") as file:
        file.write(
            "; Sounds\n\nagent-on: Agent 5 is here.\nagenton: On.\ndictate/play: press # now\nabsent: Not there.\n"
        )
    transcript = tmp_path / "out/test/A/B/A-B.trans.txt"
    transcript.parent.mkdir(parents=True)
    transcript.write_text("A-B-1 A (no) line 2!\n")
    (transcript.parent / "A-B-1.flac").touch()
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "more_speech.py",
            "--packages",
            str(tmp_path / "packages"),
            "--dir",
            str(tmp_path / "out"),
            "--held-out",
            "test",
        ],
    )
    caplog.set_level("INFO")
    more_speech.main()
    lines = sorted(
        line for path in (tmp_path / "out").glob("train-*/*/*/*.trans.txt") for line in path.read_text().splitlines()
    )
    assert lines == [
        "allison-prompts-agent_on Agent 5 is here.",
        "allison-prompts-agenton On.",
        "blonde-drascula-bj7 BJ LINE 7",
        "braun-drascula-vb62 VB LINE 62",
        "hacker-drascula-1 A LINE 1",
    ]
    info = soundfile.info(tmp_path / "out/train-prompts/allison/prompts/allison-prompts-agenton.flac")
    assert info.samplerate == 16000 and info.duration == pytest.approx(0.5, abs=1e-3)
    assert "left out: 1, text with signs" in caplog.text and "left out: 1, in the held-out speech" in caplog.text
    assert "left out: 1, text without a sound" in caplog.text


def test_whisper_tokens_are_bytes():
    assert whisper_decoder.text_of(["<|x|>", "ĠI", "Ġcaf", "Ã©", "<|endoftext|>"]) == " I café"
