"""The tokenizer, and the command that trains one."""

import subprocess
import sys
from pathlib import Path

import pytest

from hainan_k2.text import Tokenizer

ROOT = Path(__file__).resolve().parents[2]


def train(folder, *args):
    return subprocess.run(
        [sys.executable, str(ROOT / "lang" / "train_bpe.py"), *args], cwd=folder, text=True, capture_output=True
    )


@pytest.fixture(scope="module")
def lang(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lang")
    (folder / "text").write_text("Turn on the light!\nTURN OFF the 2 fans\ncall anna\n\nthe don't light\n")
    done = train(folder, "--text", "text", "--vocab-size", "48", "--lang-dir", "out")
    assert done.returncode == 0, done.stderr
    return folder / "out"


def test_tokenizer(lang):
    tokenizer = Tokenizer(lang)
    assert tokenizer.vocab_size == 48 == len(tokenizer.pieces) and tokenizer.pieces[:2] == ["<blk>", "<unk>"]
    for text in ("turn the light off", "don't", "call the two fans"):
        ids = tokenizer.encode(text)
        assert all(1 < i < 48 for i in ids) and tokenizer.decode(ids) == text
        assert tokenizer.pieces[ids[0]].startswith("\u2581")
        assert tokenizer.decode([0, *ids, 0]) == text
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""
    assert 1 in tokenizer.encode("quiz") and "<unk>" in tokenizer.decode(tokenizer.encode("quiz"))
    assert tokenizer.encode("turn") == Tokenizer(lang / "bpe.model").encode("turn")
    assert tokenizer.encode("TURN the 2 Lights...") == tokenizer.encode("turn the two lights")


def test_tokens_txt(lang):
    lines = [line.split() for line in (lang / "tokens.txt").read_text(encoding="utf-8").splitlines()]
    assert [piece for piece, _ in lines] == Tokenizer(lang).pieces
    assert [int(number) for _, number in lines] == list(range(48))


def test_text_of_cuts_without_its_copies_at_other_speeds(lang, tmp_path):
    from lhotse import CutSet, MonoCut, SupervisionSegment

    def cut(name, text):
        segment = SupervisionSegment(id=name, recording_id=name, start=0, duration=1, text=text)
        return MonoCut(id=name, start=0, duration=1, channel=0, supervisions=[segment])

    texts = ["Turn on the light!", "TURN OFF the 2 fans", "call anna", "the don't light"]
    cuts = [cut(f"u{i}", text) for i, text in enumerate(texts)]
    cuts += [cut(f"u{i}_sp0.9", "zebra") for i in range(3)]
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    done = train(tmp_path, "--cuts", "cuts.jsonl.gz", "--vocab-size", "48", "--lang-dir", "out")
    assert done.returncode == 0, done.stderr
    assert Tokenizer(tmp_path / "out").pieces == Tokenizer(lang).pieces


@pytest.mark.parametrize(
    "args, words",
    [
        (["--vocab-size", "4000"], "vocabulary size 4000 does not fit this text: Vocabulary size too high"),
        (["--vocab-size", "5"], "vocabulary size 5 does not fit this text"),
        (["--text", "absent"], "No such file"),
        (["--text", "empty"], "no text to train a tokenizer on"),
    ],
)
def test_bad_requests_end_with_one_line(tmp_path, args, words):
    (tmp_path / "text").write_text("turn on the light\n")
    (tmp_path / "empty").write_text("...\n")
    done = train(tmp_path, "--text", "text", "--lang-dir", "out", *args)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_tokenizer(tmp_path):
    with pytest.raises(ValueError, match="no tokenizer at .*bpe.model: make one with"):
        Tokenizer(tmp_path)
