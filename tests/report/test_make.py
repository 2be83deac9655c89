"""The pages of decode.py and transcribe.py."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from lhotse import MonoCut, SupervisionSegment

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
    for detail in (utterance["detail"] for utterance in data["utterances"]):
        assert detail["sound"] and detail["pictures"] and detail["graph"]["nodes"]
        assert sum(path["share"] for path in detail["paths"]) == pytest.approx(1.0)


def test_transcribe_writes_a_page(toy, model, tmp_path):
    recognizer = Recognizer(model, Tokenizer(toy / "lang"))
    result = Decoded("jfk", "", 11.0, {}, {})
    page = transcription_page(recognizer, [(str(JFK), result)], make_rows(["sar"]), NO_RESOURCES)
    write_page(tmp_path / "page.html", page)
    data = data_in((tmp_path / "page.html").read_text())
    assert data["labels"][:3] == ["sar", "ar-greedy", "nar-greedy"] and not data["references"]
    (utterance,) = data["utterances"]
    sar = recognizer.transcribe([JFK], "sar")[0]
    assert [word[0] for word in utterance["rows"][0]["words"]] == [word.text for word in sar.words]
    assert sum(seconds for _, seconds in utterance["detail"]["pictures"]) == pytest.approx(11.0)
    assert all(m["search"] > 0 for m in data["methods"]) and data["encoder"] > 0


@pytest.mark.parametrize("text", ["", "the cat"])
def test_cuts_without_texts_are_compared_and_not_scored(tmp_path, monkeypatch, text):
    speakers = {"a": "joe", "b": "joe", "c": "ann"}
    cuts = [
        MonoCut(name, 0.0, 2.0, 0, supervisions=[SupervisionSegment(name, name, 0.0, 2.0, speaker=speaker)])
        for name, speaker in speakers.items()
    ]
    for name, value in (("open_cuts", lambda _: cuts), ("paths_of_cuts", lambda *_: {}), ("facts", lambda _: ())):
        monkeypatch.setattr(make, name, value)
    decoded = page_of(("a", text, "the cat", "the cats"), ("b", "", "", ""), ("c", "", "", "")).decoded
    rows = make_rows(["ar-greedy", "nar-greedy"])
    path, tokenizer = tmp_path / "page.html", SimpleNamespace(pieces=PIECES)
    make.write_decoding(path, None, "dev.jsonl.gz", decoded, rows, {}, tokenizer, NO_RESOURCES)
    data = data_in(path.read_text())
    assert data["references"] == bool(text) and bool(data["differences"]) == (not text)
    assert [(s["name"], s["count"], s["seconds"]) for s in data["speakers"]] == [("ann", 1, 2.0), ("joe", 2, 4.0)]
    assert all(u["speaker"] == speakers[u["id"]] for u in data["utterances"])


def test_the_speakers_of_a_cut():
    supervision = SupervisionSegment("a", "a", 0.0, 1.0, speaker="joe")
    cut = MonoCut("a", 0.0, 2.0, 0, supervisions=[supervision])
    assert make.speaker_of(cut) == "joe"
    cut.supervisions = [supervision, replace(supervision, speaker="ann"), replace(supervision, speaker=None)]
    assert make.speaker_of(cut) == "ann, joe"
    cut.supervisions = []
    assert make.speaker_of(cut) == ""


def test_with_references_all_recordings_are_on_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "read_audio", lambda _: np.zeros(32000, dtype=np.float32))
    monkeypatch.setattr(make, "paths_of_recording", lambda *_: ())
    monkeypatch.setattr(make, "facts", lambda _: ())
    decoded = page_of(*[(f"u{i:02d}", "the cat", "the cat") for i in range(30)], labels=("sar",)).decoded
    results = [(f"{d.id}.wav", d) for d in decoded]
    recognizer = SimpleNamespace(model=None, tokenizer=SimpleNamespace(pieces=PIECES))
    seconds = {"encoder": 1.0, "sar": 0.5}
    page = transcription_page(recognizer, results, make_rows(["sar"]), NO_RESOURCES, seconds)
    write_page(tmp_path / "page.html", page)
    data = data_in((tmp_path / "page.html").read_text())
    assert [u["id"] for u in data["utterances"]] == [d.id for d in decoded]
    assert sum(u["detail"] is not None for u in data["utterances"]) == make.SHOWN
    assert data["methods"][0]["words"] == 60 and data["facts"] == []
