"""YAML of other programs: plain values are read, anything else is refused in one line."""

import pytest

from hainan_k2.files.plain_yaml import load_yaml


def test_plain_values():
    text = "a: [1, 2.5, null, true]\nb:\n  c: 'on'\n  d: ${a.b}\n'y': ▁the\n"
    expected = {"a": [1, 2.5, None, True], "b": {"c": "on", "d": "${a.b}"}, "y": "▁the"}
    assert load_yaml(text.encode(), "x") == expected


@pytest.mark.parametrize(
    "content, message",
    [
        (b"a: &a 1\nb: *a\n", r"x cannot be read as YAML: alias \*a"),
        (b"a: !!python/name:os.system x\n", "tag tag:yaml.org,2002:python/name:os.system"),
        (b"a: !x y\n", "tag !x"),
        (b"!!binary x\n", "tag tag:yaml.org,2002:binary"),
        (b"[" * 60 + b"]" * 60, "more than 50 levels"),
        (b"a: [1, 2\n", "cannot be read as YAML"),
        (b"\xff", "cannot be read as YAML"),
        (b"- 1\n", "does not hold a mapping"),
        (b"", "does not hold a mapping"),
        (b" " * (1 << 25), "at most 16777216 are read"),
        (b"a: " + b"1" * 10_000, "cannot be read as YAML"),
    ],
)
def test_what_is_refused(content, message):
    with pytest.raises(ValueError, match=message) as error:
        load_yaml(content, "x")
    assert "\n" not in str(error.value)
