"""Models of NeMo and transformers become HAINAN models: their encoder's output is stored and trained on."""

import pytest
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment

from hainan_k2 import compute_features, export, train
from hainan_k2.files.jsonl import read_lines
from hainan_k2.formats.model_dir import read_model
from hainan_k2.import_model import main as import_model
from tests.toy import ROOT

DATA = ROOT / "tests" / "data"
TEXTS = ("and so my fellow americans", "ask not", "what your country can do for you")


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A folder with jfk_cuts_x.jsonl.gz: three clips, of which one ends in the first half of an encoder frame."""
    folder = tmp_path_factory.mktemp("speech")
    samples, rate = soundfile.read(DATA / "jfk.flac")
    cuts = []
    for text, (begin, end) in zip(TEXTS, ((0, 48000), (48000, 80077), (80000, 176000 - 133))):
        name = f"clip{len(cuts)}"
        soundfile.write(folder / f"{name}.wav", samples[begin:end], rate)
        recording = Recording.from_file(folder / f"{name}.wav")
        cut = recording.to_cut().with_id(name)
        cut.supervisions = [SupervisionSegment(name, recording.id, 0, recording.duration, text=text)]
        cuts.append(cut)
    CutSet.from_cuts(cuts).to_file(folder / "jfk_cuts_x.jsonl.gz")
    return folder


def run(model, cuts, exp, *options):
    train.main(
        [
            f"--init-from={model}",
            "--freeze-encoder",
            "--mask-prob=0.5",
            f"--exp-dir={exp}",
            f"--train-cuts={cuts}",
            f"--dev-cuts={cuts}",
            "--num-workers=0",
            "--num-epochs=2",
            "--spec-augment=false",
            "--loss=full",
            "--warmup-updates=1",
            "--device=cpu",
            *options,
        ]
    )
    return read_lines(exp / "updates.jsonl")


@pytest.mark.parametrize("name", ["nemo_tdt_tiny.nemo", "parakeet_tiny"])
def test_an_imported_model_becomes_hainan(name, speech, tmp_path):
    import_model([str(DATA / name), "--out", str(tmp_path / "tdt")])
    folders = ["--manifest-dir", str(speech), "--out-dir", str(tmp_path / "encoded"), "--prefix", "jfk", "--split", "x"]
    compute_features.main([*folders, "--encoder", str(tmp_path / "tdt")])
    stored = tmp_path / "encoded" / "jfk_cuts_x.jsonl.gz"
    CutSet.from_file(stored).drop_features().to_file(tmp_path / "audio.jsonl.gz")  # in the same order
    on_audio = run(tmp_path / "tdt", tmp_path / "audio.jsonl.gz", tmp_path / "one")
    on_stored = run(tmp_path / "tdt", stored, tmp_path / "other")
    assert len(on_audio) == len(on_stored) == 2
    assert [u["tdt"] for u in on_audio] == pytest.approx([u["tdt"] for u in on_stored], abs=1e-4)
    export.main(["--exp-dir", str(tmp_path / "other"), "--out-dir", str(tmp_path / "m"), "--precision", "float32"])
    before, its_tokenizer, _ = read_model(tmp_path / "tdt")
    after, tokenizer, _ = read_model(tmp_path / "m")
    assert after.config.predictor_masking and not before.config.predictor_masking
    assert tokenizer.pieces == its_tokenizer.pieces
    weights = after.state_dict()
    same = {key for key, value in before.state_dict().items() if key in weights and value.equal(weights[key])}
    assert same == {key for key in weights if key.startswith("encoder.")}


def test_an_imported_rnnt_stays_one(speech, tmp_path):
    import_model([str(DATA / "nemo_rnnt.nemo"), "--out", str(tmp_path / "rnnt")])
    updates = run(tmp_path / "rnnt", speech / "jfk_cuts_x.jsonl.gz", tmp_path / "exp", "--mask-prob=0")
    assert len(updates) == 2 and all(update["rnnt"] > 0 for update in updates)
    export.main(["--exp-dir", str(tmp_path / "exp"), "--out-dir", str(tmp_path / "m"), "--precision", "float32"])
    after, _, _ = read_model(tmp_path / "m")
    assert after.config.objective == "rnnt" and not after.config.predictor_masking
