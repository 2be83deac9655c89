"""Decompression of Rob Northen's ProPack, method 1, a format of game files of the nineties.

The header has 18 bytes: `RNC`, the method, the big-endian lengths of the unpacked and the packed data, two checksums
and two bytes of settings. A stream of bits and bytes follows. Bits are read from the low end of little-endian 16-bit
words; literal bytes come between the words. A block has three Huffman tables (lengths of literal runs, distances and
lengths of matches) and a number of pairs of a run and a match; the last pair of a block has no match.
"""

from __future__ import annotations

import struct

MAGIC = b"RNC\x01"
HEADER = struct.Struct(">4sIIHHH")


def unpack(data: bytes) -> bytes:
    """Unpack data. ValueError if it is not of this format, is truncated or has a wrong checksum."""
    if len(data) < HEADER.size or data[:4] != MAGIC:
        raise ValueError(f"not packed by ProPack method 1: it begins with {bytes(data[:4])!r}, not {MAGIC!r}")
    _, size, packed_size, check, packed_check, _ = HEADER.unpack_from(data)
    packed = data[HEADER.size : HEADER.size + packed_size]
    if len(packed) < packed_size:
        raise ValueError(f"packed data is truncated: {len(packed)} bytes instead of {packed_size}")
    if checksum(packed) != packed_check:
        raise ValueError("packed data is damaged: its checksum differs from that in the header")
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
                for _ in range(length):  # byte by byte: a match may overlap its own output
                    out.append(out[-distance])
    if len(out) != size or checksum(out) != check:
        raise ValueError(f"unpacked data is wrong: {len(out)} bytes instead of {size}, or another checksum")
    return bytes(out)


def checksum(data: bytes) -> int:
    """CRC-16 with the reflected polynomial 0xA001 and initial value 0."""
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
    """Reader of the stream. It is one word ahead, so literals begin at the position of that word."""

    def __init__(self, data: bytes):
        self._data, self._at = data, 0
        self._buffer, self._count = self._word(), 16

    def _word(self) -> int:
        if self._at > len(self._data) + 4:
            raise ValueError("packed data ends within a block")
        return int.from_bytes(self._data[self._at : self._at + 2], "little")

    def peek(self) -> int:
        """The next bits, at least 16, without consuming them."""
        return self._buffer

    def take(self, count: int) -> int:
        """Consume the next `count` bits."""
        value = self._buffer & (1 << count) - 1
        self._buffer >>= count
        self._count -= count
        if self._count < 16:
            self._at += 2
            self._buffer |= self._word() << self._count
            self._count += 16
        return value

    def literals(self, count: int) -> bytes:
        """Consume the next `count` bytes."""
        if not count:
            return b""
        if self._at + count > len(self._data):
            raise ValueError("packed data ends within a run of literals")
        run = self._data[self._at : self._at + count]
        self._at += count
        self._count -= 16
        self._buffer = self._buffer & (1 << self._count) - 1 | self._word() << self._count
        self._count += 16
        return run


def _codes(bits: _Bits) -> list[tuple[int, int, int]]:
    """Read a canonical Huffman table: (number of bits, code as in the stream, symbol), short codes first."""
    sizes = [bits.take(4) for _ in range(bits.take(5))]
    table, code = [], 0
    for size in range(1, 16):
        for symbol in (symbol for symbol, own in enumerate(sizes) if own == size):
            table.append((size, int(f"{code:0{size}b}"[::-1], 2), symbol))
            code += 1
        code <<= 1
    return table


def _value(bits: _Bits, table: list[tuple[int, int, int]]) -> int:
    """Read a number. A symbol of 0 or 1 is the number; a larger one is its length in bits, lower bits follow."""
    ahead = bits.peek()
    for size, code, symbol in table:
        if ahead & (1 << size) - 1 == code:
            bits.take(size)
            return symbol if symbol < 2 else 1 << symbol - 1 | bits.take(symbol - 1)
    raise ValueError("packed data has a code that is not in its table")
