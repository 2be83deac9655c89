"""The pages of decode.py and transcribe.py."""

import json
from types import SimpleNamespace

import pytest

from hainan_k2 import decode
from hainan_k2.bench.decode import random_model
from hainan_k2.config import as_dict
from hainan_k2.formats.checkpoint import save_checkpoint
from hainan_k2.inference.decoded import Decoded
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.report import make
from hainan_k2.report.make import transcription_page, write_page
from hainan_k2.search import NO_RESOURCES
from hainan_k2.search.sweep import make_rows
from hainan_k2.text.tokenizer import Tokenizer
from tests.report.pages import JFK, PIECES, data_in, page_of
from tests.toy import decode_command


@pytest.fixture(scope="module")
def model(toy):
    return random_model("tiny", Tokenizer(toy / "lang").vocab_size)


def test_decode_writes_a_page(toy, model, tmp_path):
    pytest.importorskip("k2")
    save_checkpoint(
        tmp_path / "epoch-1.safetensors", {"model": model.state_dict(), "model_config": as_dict(model.config)}
    )
    out = tmp_path / "sub" / "page.html"
    decode.main(decode_command(toy, str(tmp_path), "--method", "nar-greedy,viterbi", "--report", str(out)))
    data = data_in(out.read_text())
    figures = json.loads((tmp_path / "decode" / "summary-dev.json").read_text())["methods"]
    assert [(m["label"], m["wer"]) for m in data["methods"]] == [(name, figures[name]["wer"]) for name in figures]
    assert len(data["utterances"]) == 20
    made = dict(data["origin"])
    assert made["model"].startswith(f"{tmp_path}/epoch-1.safetensors (SHA-256 ") and made["date"] and made["command"]
    for utterance in data["utterances"]:
        assert utterance["sound"] and utterance["pictures"] and utterance["graph"]["nodes"]
        assert sum(path["share"] for path in utterance["paths"]) == pytest.approx(1.0)


def test_transcribe_writes_a_page(toy, model, tmp_path):
    recognizer = Recognizer(model, Tokenizer(toy / "lang"))
    result = Decoded("jfk", "", 11.0, {}, {})
    page = transcription_page(recognizer, [(str(JFK), result)], make_rows(["sar"]), NO_RESOURCES)
    write_page(tmp_path / "page.html", page)
    data = data_in((tmp_path / "page.html").read_text())
    assert data["labels"][:3] == ["sar", "ar-greedy", "nar-greedy"] and not data["references"]
    (utterance,) = data["utterances"]
    sar = recognizer.transcribe([JFK], "sar")[0]
    assert [word["text"] for word in utterance["rows"][0]["words"]] == [word.text for word in sar.words]
    assert sum(seconds for _, seconds in utterance["pictures"]) == pytest.approx(11.0)
    assert all(m["search"] > 0 for m in data["methods"]) and data["encoder"] > 0


@pytest.mark.parametrize("text", ["", "the cat"])
def test_cuts_without_texts_are_compared_and_not_scored(tmp_path, monkeypatch, text):
    for name, value in (("open_cuts", lambda _: []), ("lattice_paths", lambda *_: {}), ("facts", lambda _: ())):
        monkeypatch.setattr(make, name, value)
    decoded = page_of(("a", text, "the cat", "the cats"), ("b", "", "", "")).decoded
    rows = make_rows(["ar-greedy", "nar-greedy"])
    path, tokenizer = tmp_path / "page.html", SimpleNamespace(pieces=PIECES)
    make.write_decoding(path, None, "dev.jsonl.gz", decoded, rows, {}, tokenizer, NO_RESOURCES)
    data = data_in(path.read_text())
    assert data["references"] == bool(text) and ("differences" in data) == (not text)
