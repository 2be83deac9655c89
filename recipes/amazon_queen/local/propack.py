"""Rob Northen's ProPack, method 1, in which games of the nineties keep their files: decompression only.

After a header of 18 bytes (`RNC`, the method, big-endian lengths unpacked and packed, two checksums, two bytes of
settings) comes a stream of bits and bytes. Bits are read from the low end of little-endian words of 16 bits; literal
bytes stand between the words. A block has three Huffman tables - run of literals, distance, length of a match - and a
count of pairs of a run and a match; the last pair of a block has no match.
"""

from __future__ import annotations

import struct

MAGIC = b"RNC\x01"
HEADER = struct.Struct(">4sIIHHH")


def unpack(data: bytes) -> bytes:
    """The bytes that were packed. ValueError if `data` is not of this format, is cut off or fails its checksum."""
    if len(data) < HEADER.size or data[:4] != MAGIC:
        raise ValueError(f"not packed by ProPack method 1: it begins with {bytes(data[:4])!r}, not {MAGIC!r}")
    _, size, packed_size, check, packed_check, _ = HEADER.unpack_from(data)
    packed = data[HEADER.size : HEADER.size + packed_size]
    if len(packed) < packed_size:
        raise ValueError(f"packed data is cut off: {len(packed)} bytes instead of {packed_size}")
    if checksum(packed) != packed_check:
        raise ValueError("packed data is damaged: its checksum differs from the header's")
    bits, out = _Bits(packed), bytearray()
    bits.take(2)
    while len(out) < size:
        runs, distances, lengths = _codes(bits), _codes(bits), _codes(bits)
        for left in range(bits.take(16), 0, -1):
            out += bits.literals(_value(bits, runs))
            if left > 1:
                distance, length = _value(bits, distances) + 1, _value(bits, lengths) + 2
                if distance > len(out):
                    raise ValueError(f"a match begins {distance} bytes back, {len(out)} bytes into the data")
                for _ in range(length):  # byte by byte: a match may go on into what it writes
                    out.append(out[-distance])
    if len(out) != size or checksum(out) != check:
        raise ValueError(f"unpacked data is not what was packed: {len(out)} bytes instead of {size}, or other bytes")
    return bytes(out)


def checksum(data: bytes) -> int:
    """CRC-16 of the reflected polynomial 0xA001, from 0."""
    crc = 0
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC = [_crc_of(byte) for byte in range(256)]


class _Bits:
    """The stream. One word is read ahead, so literals begin where that word does."""

    def __init__(self, data: bytes):
        self._data, self._at = data, 0
        self._buffer, self._count = self._word(), 16

    def _word(self) -> int:
        if self._at > len(self._data) + 4:
            raise ValueError("packed data ends within a block")
        return int.from_bytes(self._data[self._at : self._at + 2], "little")

    def peek(self) -> int:
        return self._buffer

    def take(self, count: int) -> int:
        value = self._buffer & (1 << count) - 1
        self._buffer >>= count
        self._count -= count
        if self._count < 16:
            self._at += 2
            self._buffer |= self._word() << self._count
            self._count += 16
        return value

    def literals(self, count: int) -> bytes:
        if not count:
            return b""
        if self._at + count > len(self._data):
            raise ValueError("packed data ends within a run of literals")
        found = self._data[self._at : self._at + count]
        self._at += count
        self._count -= 16
        self._buffer = self._buffer & (1 << self._count) - 1 | self._word() << self._count
        self._count += 16
        return found


def _codes(bits: _Bits) -> list[tuple[int, int, int]]:
    """A canonical Huffman table: (bits, code as it stands in the stream, symbol), short codes first."""
    sizes = [bits.take(4) for _ in range(bits.take(5))]
    table, code = [], 0
    for size in range(1, 16):
        for symbol in (symbol for symbol, own in enumerate(sizes) if own == size):
            table.append((size, int(f"{code:0{size}b}"[::-1], 2), symbol))
            code += 1
        code <<= 1
    return table


def _value(bits: _Bits, table: list[tuple[int, int, int]]) -> int:
    """The next number: the symbol, from 2 on the position of its highest bit, says how many bits follow."""
    ahead = bits.peek()
    for size, code, symbol in table:
        if ahead & (1 << size) - 1 == code:
            bits.take(size)
            return symbol if symbol < 2 else 1 << symbol - 1 | bits.take(symbol - 1)
    raise ValueError("packed data has a code that its table lacks")
