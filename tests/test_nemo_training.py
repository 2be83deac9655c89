"""A model on NeMo's features: features stored, trained, decoded from stored features and from audio, exported."""

import json

import pytest
from lhotse import CutSet

from hainan_k2 import compute_features, decode, export, train, transcribe
from hainan_k2.inference.recognizer import Recognizer
from tests.toy import train_command


@pytest.fixture(scope="module")
def exp(toy):
    """An experiment folder, trained to few errors on stored features of NeMo's kind with 40 bins."""
    manifests = toy / "nemo-manifests"
    manifests.mkdir()
    for split in ("train", "dev"):
        CutSet.from_file(toy / f"{split}.jsonl.gz").to_file(manifests / f"cuts_{split}.jsonl.gz")
    compute_features.main(
        ["--manifest-dir", str(manifests), "--out-dir", str(toy / "nemo"), "--split", "train", "dev"]
        + ["--features", "nemo", "--num-mel-bins", "40"]
    )
    stored = [f"--{split}-cuts={toy}/nemo/cuts_{split}.jsonl.gz" for split in ("train", "dev")]
    options = ["--features", "nemo", "--num-mel-bins", "40", "--dropout", "0", "--max-duration", "8"]
    train.main(train_command(toy, "nemo-exp", *stored, *options, "--num-epochs", "16"))
    return toy / "nemo-exp"


def texts(folder):
    (path,) = folder.glob("recogs-*.txt")
    return [line for line in path.read_text().splitlines() if "hyp=" in line]


def test_stored_and_computed_features_give_the_same_texts_in_all_commands(exp, toy, tmp_path):
    found = {}
    for kind, cuts in (("stored", toy / "nemo" / "cuts_dev.jsonl.gz"), ("audio", toy / "dev.jsonl.gz")):
        decode.main(
            ["--exp-dir", str(exp), "--lang-dir", str(toy / "lang"), "--cuts", str(cuts), "--out-dir"]
            + [str(tmp_path / kind), "--method", "ar-greedy"]
        )
        found[kind] = texts(tmp_path / kind)
    assert found["stored"] == found["audio"] and len(found["audio"]) == 20
    export.main(["--exp-dir", str(exp), "--out-dir", str(tmp_path / "model"), "--precision", "float32"])
    stated = json.loads((tmp_path / "model" / "config.json").read_text())["features"]
    assert (stated["kind"], stated["num_mel_bins"], stated["window"]) == ("nemo", 40, "hann")
    recognizer = Recognizer.load(tmp_path / "model", device="cpu")
    assert recognizer.spec.kind == "nemo"
    references = {cut.id: cut.supervisions[0].text for cut in CutSet.from_file(toy / "dev.jsonl.gz")}
    results = recognizer.transcribe([str(toy / "dev" / f"{name}.wav") for name in references])
    errors = sum(result.text != text for result, text in zip(results, references.values()))
    assert errors <= 2, [result.text for result in results]
    out = ["--write", "txt", "--out-dir", str(tmp_path / "out")]
    transcribe.main([str(toy / "dev"), "--model", str(tmp_path / "model"), *out])
    assert len((tmp_path / "out" / "transcripts.txt").read_text().splitlines()) == 20


def test_features_of_another_kind_are_refused(exp, toy, capsys):
    with pytest.raises(SystemExit) as stop:
        cuts = str(toy / "nemo" / "cuts_train.jsonl.gz")
        train.main(train_command(toy, "other-exp", "--train-cuts", cuts, "--num-epochs", "1"))
    assert stop.value.code == 2
    assert "stored features of type hainan-nemo, 40 bins; this encoder expects hainan-fbank" in capsys.readouterr().err
