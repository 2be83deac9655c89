import pytest
from hypothesis import given
from hypothesis import strategies as st

from hainan_k2.files.protobuf import Field, read_message, write_message

FIELDS = st.builds(
    Field,
    st.integers(1, 2**29 - 1),
    st.one_of(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=300), st.floats(width=32, allow_nan=False)),
)
FIXED64 = st.builds(Field, st.integers(1, 2**29 - 1), raw=st.binary(min_size=8, max_size=8))


@given(st.lists(st.one_of(FIELDS, FIXED64), max_size=8))
def test_what_is_written_is_read(fields):
    assert read_message(write_message(fields)) == fields


def test_the_encoding_of_the_documentation():
    """The examples of https://protobuf.dev/programming-guides/encoding."""
    assert write_message([Field(1, 150)]) == b"\x08\x96\x01"
    assert write_message([Field(2, b"testing")]) == b"\x12\x07testing"
    assert write_message([Field(1, -2)]) == b"\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"\x08", "ends within a number"),
        (b"\x08\x96", "ends within a number"),
        (b"\x12\x07test", "a field of 7 bytes, of which 4 are there"),
        (b"\x12\xff\xff\xff\xff\x7ftest", "of which 4 are there"),
        (b"\x0d\x00\x00", "a field of 4 bytes, of which 2 are there"),
        (b"\x0b", "not the beginning of a field"),
        (b"\x00\x00", "not the beginning of a field"),
        (b"\x08" + b"\xff" * 11, "a number of more than 10 bytes"),
    ],
)
def test_damaged_messages(content, message):
    with pytest.raises(ValueError, match=message):
        read_message(content)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_value_error(content):
    try:
        fields = read_message(content)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert all(1 <= field.number < 2**29 for field in fields)
