"""Messages of protocol buffers as lists of fields: read and written without descriptions of their types.

sentencepiece's own classes work only with the version of protobuf that they were generated for; its models need four
kinds of fields (https://protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Field:
    """A field of a message: its number, and its value as an int (varint), as bytes or as a float (4 bytes).

    Fields of 8 bytes are kept as they are, in `raw`.
    """

    number: int
    value: Union[int, bytes, float] = 0
    raw: bytes = b""


def read_message(content: bytes) -> list[Field]:
    """The fields of a message in their order; ValueError, with the byte, where it is truncated or not a message."""
    fields: list[Field] = []
    at = 0
    while at < len(content):
        key, at = _read_varint(content, at)
        number, wire = key >> 3, key & 7
        if not 1 <= number < 1 << 29 or wire not in (VARINT, FIXED64, BYTES, FIXED32):
            raise ValueError(f"byte {at}: not the beginning of a field")
        if wire == VARINT:
            value, at = _read_varint(content, at)
            fields.append(Field(number, value - (1 << 64) if value >> 63 else value))
            continue
        size = 8 if wire == FIXED64 else 4
        if wire == BYTES:
            size, at = _read_varint(content, at)
        if size > len(content) - at:
            raise ValueError(f"byte {at}: a field of {size} bytes, of which {len(content) - at} are there")
        part, at = content[at : at + size], at + size
        if wire == FIXED64:
            fields.append(Field(number, raw=part))
        else:
            fields.append(Field(number, part if wire == BYTES else struct.unpack("<f", part)[0]))
    return fields


def write_message(fields: Sequence[Field]) -> bytes:
    """The message with these fields."""
    return b"".join(map(_write_field, fields))


def _write_field(field: Field) -> bytes:
    key = field.number << 3
    if field.raw:
        return _varint(key | FIXED64) + field.raw
    if isinstance(field.value, bytes):
        return _varint(key | BYTES) + _varint(len(field.value)) + field.value
    if isinstance(field.value, float):
        return _varint(key | FIXED32) + struct.pack("<f", field.value)
    return _varint(key | VARINT) + _varint(field.value & (1 << 64) - 1)


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits per byte, lowest first, from byte `at` on; and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            raise ValueError(f"byte {at}: the message ends within a number")
        byte, at = content[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, at
    raise ValueError(f"byte {at}: a number of more than 10 bytes")


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)
