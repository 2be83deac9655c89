"""hainan-label: cuts without transcripts get the words that decoding gives, with confidences, times and counts."""

import json

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.cut import MonoCut

from hainan_k2 import Recognizer, compute_features, label, train
from hainan_k2.data.cuts import ENCODER
from hainan_k2.files.jsonl import read_lines
from hainan_k2.formats.model_dir import RELEASED
from tests.toy import ROOT

JFK = ROOT / "tests" / "data" / "jfk.flac"


def cut_of(path, name, **supervision):
    recording = Recording.from_file(path, recording_id=name)
    given = [SupervisionSegment(name, name, 0, recording.duration, **supervision)] if supervision else []
    return MonoCut(name, 0, recording.duration, 0, given, recording=recording)


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    """Two parts of a speech, at two sampling rates, one of them with a wrong transcript; and silence."""
    folder = tmp_path_factory.mktemp("label")
    samples, rate = soundfile.read(JFK)
    soundfile.write(folder / "first.wav", samples[: 4 * rate], rate)
    soundfile.write(folder / "second.wav", samples[5 * rate : 9 * rate : 2], rate // 2)
    soundfile.write(folder / "silence.wav", np.zeros(rate), rate)
    cuts = [cut_of(folder / f"{name}.wav", name) for name in ("silence", "second")]
    cuts.append(cut_of(folder / "first.wav", "first", text="all wrong", speaker="jfk", language="English"))
    CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl.gz")
    return folder


def run(folder, *options):
    label.main(
        [
            "--model=released",
            f"--cuts={folder / 'cuts.jsonl.gz'}",
            f"--out={folder / 'out.jsonl.gz'}",
            "--num-workers=0",
            *options,
        ]
    )
    return CutSet.from_file(folder / "out.jsonl.gz").to_eager()


@pytest.mark.parametrize("method", ["ar-greedy", "ar-beam"])
def test_silence_has_no_label(unlabelled, caplog, method):
    with caplog.at_level("INFO"):
        cuts = run(unlabelled, "--method", method)
    assert list(cuts.ids) == ["second", "first"], "in the order of the input, without the silence"
    assert "1 cuts left out, no words: silence" in caplog.text and "out.jsonl.gz: 2 of 3 cuts, 0.00 h" in caplog.text


@pytest.mark.parametrize("method", ["ar-greedy", "ar-beam"])
def test_labels_are_what_the_model_recognises(unlabelled, method):
    cuts = run(unlabelled, "--method", method)
    assert list(cuts.ids) == ["second", "first"], "in the order of the input"
    recognizer = Recognizer.load(RELEASED)
    for cut in cuts:
        (transcription,) = recognizer.transcribe([str(unlabelled / f"{cut.id}.wav")], method=method)
        (supervision,) = cut.supervisions
        assert supervision.text == transcription.text and len(supervision.text.split()) >= 4
        assert (supervision.start, supervision.duration) == (0, cut.duration)
        assert cut.sampling_rate == {"first": 16000, "second": 8000}[cut.id], "the recordings are not changed"
        words = transcription.words
        aligned = supervision.alignment["word"]
        assert [(item.symbol, item.start, item.end) for item in aligned] == [(w.text, w.start, w.end) for w in words]
        assert [item.score for item in aligned] == pytest.approx([word.confidence for word in words], abs=1e-5)
        mean = sum(word.confidence for word in words) / len(words)
        assert supervision.custom == {"confidence": pytest.approx(mean, abs=1e-3), "labelled_by": method}
    assert cuts["first"].supervisions[0].speaker == "jfk" and cuts["second"].supervisions[0].speaker is None


def test_labels_of_low_confidence_are_left_out_and_counted(unlabelled, caplog, capsys):
    confidences = {cut.id: cut.supervisions[0].custom["confidence"] for cut in run(unlabelled)}
    assert 0 < min(confidences.values()) < max(confidences.values()) < 1
    limit = sum(confidences.values()) / 2
    kept = run(unlabelled, "--min-confidence", f"{limit}")
    assert list(kept.ids) == [max(confidences, key=confidences.__getitem__)]
    assert (
        f"1 cuts left out, confidence below {limit:g}: {min(confidences, key=confidences.__getitem__)}" in caplog.text
    )
    (unlabelled / "out.jsonl.gz").unlink()
    with pytest.raises(SystemExit) as stopped:
        run(unlabelled, "--min-confidence", "1")
    assert stopped.value.code == 2 and "no cut gets a label" in capsys.readouterr().err
    assert not (unlabelled / "out.jsonl.gz").exists()


def test_unreadable_cuts_are_counted_up_to_the_limit(unlabelled, tmp_path, caplog, capsys):
    for name in ("first", "second"):
        (tmp_path / f"{name}.wav").write_bytes((unlabelled / f"{name}.wav").read_bytes())
    CutSet.from_cuts(cut_of(tmp_path / f"{n}.wav", n) for n in ("first", "second")).to_file(tmp_path / "cuts.jsonl.gz")
    (tmp_path / "second.wav").unlink()
    with caplog.at_level("INFO"):
        assert list(run(tmp_path, "--method", "nar-greedy").ids) == ["first"]
    assert "1 cuts left out, cannot be read: second" in caplog.text and "1 of 2 cuts" in caplog.text
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, "--method", "nar-greedy", "--max-unreadable", "0")
    assert stopped.value.code == 2 and "1 cuts cannot be used, 0 are allowed" in capsys.readouterr().err


def test_cuts_that_cannot_be_labelled(unlabelled, tmp_path, capsys):
    cut = cut_of(unlabelled / "first.wav", "first")
    for cuts, message in (
        ([cut.append(cut)], "is a MixedCut: only cuts of one recording and channel are labelled"),
        ([], "the cut manifest is empty"),
        ([cut, cut], "two cuts have the id first"),
    ):
        with (tmp_path / "cuts.jsonl").open("w") as stream:
            stream.writelines(json.dumps(each.to_dict()) + "\n" for each in cuts)
        with pytest.raises(SystemExit) as stopped:
            run(tmp_path, "--cuts", str(tmp_path / "cuts.jsonl"), "--method", "nar-greedy")
        err = capsys.readouterr().err
        assert stopped.value.code == 2 and message in err.splitlines()[-1], err


def test_from_labels_to_a_trained_model(unlabelled, tmp_path):
    """Encoder output is stored, labelled without another pass of the encoder, and trained on."""
    stored = ["--manifest-dir", str(unlabelled), "--out-dir", str(tmp_path), "--encoder", "released", "--split", "x"]
    (unlabelled / "jfk_cuts_x.jsonl.gz").write_bytes((unlabelled / "cuts.jsonl.gz").read_bytes())
    compute_features.main([*stored, "--prefix", "jfk"])
    fresh = {cut.id: cut for cut in run(unlabelled, "--method", "ar-greedy")}
    cuts = run(unlabelled, "--method", "ar-greedy", "--cuts", str(tmp_path / "jfk_cuts_x.jsonl.gz"))
    assert {cut.id for cut in cuts} == set(fresh)
    for cut in cuts:
        assert cut.supervisions[0].text == fresh[cut.id].supervisions[0].text
        assert cut.has_features and len(cut.custom[ENCODER]) == 64
    labelled = str(unlabelled / "out.jsonl.gz")
    train.main(
        [
            "--init-from=released",
            "--freeze-encoder",
            f"--exp-dir={tmp_path / 'exp'}",
            f"--train-cuts={labelled}",
            f"--dev-cuts={labelled}",
            "--num-workers=0",
            "--num-epochs=1",
            "--device=cpu",
        ]
    )
    (epoch,) = read_lines(tmp_path / "exp" / "epochs.jsonl")
    assert epoch["update"] == 1 and epoch["dev_wer"] < 0.5, "its own labels, after one small update"
