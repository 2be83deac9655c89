"""Reference texts: every file format, and messages for missing or wrong entries."""

import pytest

from hainan_k2.inference.inputs import Input
from hainan_k2.scoring.references import References

A, B = Input("/data/talks/day 1/a.flac", "day 1/a.flac"), Input("/data/talks/b.wav", "b.wav")


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize(
    "key",
    [
        "/data/talks/day 1/a.flac",
        "/data/./talks/day 1/a.flac",
        "day 1/a.flac",
        "a.flac",
        "a",
        "day 1/a",
        "/data/talks/day%201/a.flac",
    ],
)
def test_keys_of_a_table(tmp_path, key):
    references = References(write(tmp_path / "r.csv", f'speaker,Text,path\nx,"one, two",{key}\n'))
    assert references.of(A) == "one, two" and not references.missing and not references.unused()
    assert references.of(B) is None and references.missing == [f"{B.path}: {tmp_path}/r.csv has no text of it"]


def test_paths_are_relative_to_the_tables_folder(tmp_path):
    references = References(write(tmp_path / "r.tsv", '\ufeffpath\ttext\n./wav/a.wav\tsay "x\n'))
    assert references.of(Input(f"{tmp_path}/wav/a.wav", "elsewhere")) == 'say "x'


def test_lines_of_kaldi_and_librispeech(tmp_path):
    references = References(write(tmp_path / "text", "b  ONE TWO \n\n/data/talks/day%201/a.flac\nother x\n"))
    assert references.of(B) == "ONE TWO" and references.of(A) == "" and references.unused() == 1
    (tmp_path / "1" / "2").mkdir(parents=True)
    write(tmp_path / "1" / "2" / "1-2.trans.txt", "1-2-0 ALFA\n1-2-1 BRAVO\n")
    write(tmp_path / "1" / "1-3.trans.txt", "1-3-0 CODA\n")
    references = References(str(tmp_path))
    assert [references.of(Input(f"/x/{name}.flac", f"{name}.flac")) for name in ("1-2-1", "1-3-0")] == ["BRAVO", "CODA"]


def test_a_file_beside_each_recording(tmp_path):
    write(tmp_path / "a.txt", "one\n two\n")
    write(tmp_path / "c.txt", b"\xff")
    references = References(".txt")
    assert [references.of(Input(f"{tmp_path}/{name}", name)) for name in ("a.wav", "b.wav", "c.wav")] == [
        "one two",
        None,
        None,
    ]
    assert references.missing == [
        f"{tmp_path}/b.wav: {tmp_path}/b.txt: No such file or directory",
        f"{tmp_path}/c.wav: {tmp_path}/c.txt:1: not UTF-8",
    ]
    assert references.unused() == 0


def test_a_text_is_used_for_one_recording_only(tmp_path):
    references = References(write(tmp_path / "text", "a one\n"))
    first, second = Input("/x/a.wav", "x/a.wav"), Input("/y/a.wav", "y/a.wav")
    assert references.of(first) == "one" and references.of(second) is None and references.of(first) == "one"
    assert references.missing == [f"/y/a.wav: a in {tmp_path}/text is the text of /x/a.wav"]


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("r.csv", "a.wav,one\n", "r.csv:1: the first line should name the columns"),
        ("r.csv", "path,text\na.wav,one\na.wav,two\n", "r.csv:3: a second text of a.wav"),
        ("r.csv", "path,text\na.wav,one,two\n", "r.csv:2: 3 values in 2 columns"),
        ("r.csv", 'path,text\na.wav,"one\n', "r.csv:2: "),
        ("r.csv", b"path,text\na,\xff\n", "r.csv:2: not UTF-8"),
        ("r.csv", "path,text\na," + "x" * 200_000, "r.csv:2: field larger than"),
        ("r.csv", "", "r.csv: no texts in it"),
        ("text", "a one\na two\n", "text:2: a second text of a"),
        ("text", "\n", "text: no texts in it"),
    ],
)
def test_wrong_entries_are_named_with_their_line(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        References(write(tmp_path / name, content))


def test_missing_sources(tmp_path):
    with pytest.raises(ValueError, match="none.csv: No such file"):
        References(str(tmp_path / "none.csv"))
    with pytest.raises(ValueError, match="no \\*.trans.txt in this folder"):
        References(str(tmp_path))
