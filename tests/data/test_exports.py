"""What other programs' files can say of channels, and archives of an earlier run."""

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from hainan_k2.data import exports
from hainan_k2.files.text_tables import read_keyed_lines
from tests.data.corpus import babble, write_cuts


@pytest.fixture
def channels(tmp_path):
    """Two utterances, of one channel each of a recording."""
    soundfile.write(tmp_path / "call.wav", np.stack([babble(16000, 1), babble(16000, 2)], axis=1), 16000)
    recording = Recording.from_file(tmp_path / "call.wav")
    return [
        MonoCut(
            f"side{c}", 0.0, 1.0, c, [SupervisionSegment(f"side{c}", "call", 0, 1.0, c, "hello")], recording=recording
        )
        for c in (0, 1)
    ]


def test_the_files_of_a_kaldi_directory_name_the_same_utterances(channels, tmp_path):
    exports.write_kaldi(channels, tmp_path / "kaldi")
    names = {
        file: [name for name, *_ in read_keyed_lines(tmp_path / "kaldi" / file)]
        for file in ("text", "segments", "utt2spk")
    }
    of_speakers = [text for _, text, _ in read_keyed_lines(tmp_path / "kaldi" / "spk2utt")]
    assert names["text"] == names["segments"] == names["utt2spk"] == of_speakers and len(of_speakers) == 2


def test_a_nemo_manifest_cannot_name_a_channel(channels, tmp_path):
    with pytest.raises(ValueError, match="cut side0 is a channel of .*call.wav, which a NeMo manifest cannot say"):
        exports.write_nemo(channels, tmp_path / "x.json")
    assert not (tmp_path / "x.json").exists()


def test_shar_has_no_archives_of_an_earlier_run(tmp_path, monkeypatch):
    cuts = list(write_cuts(tmp_path / "audio", 3))
    to_shar = CutSet.to_shar
    monkeypatch.setattr(
        CutSet, "to_shar", lambda self, *args, **options: to_shar(self, *args, **{**options, "shard_size": 1})
    )
    for count in (3, 2):
        exports.write_shar(cuts[:count], tmp_path / "shar")
    assert sorted(path.name for path in (tmp_path / "shar").iterdir()) == [
        f"{field}.00000{i}.{ending}" for field, ending in (("cuts", "jsonl.gz"), ("recording", "tar")) for i in (0, 1)
    ]
    assert [cut.id for cut in CutSet.from_shar(in_dir=tmp_path / "shar")] == [cut.id for cut in cuts[:2]]
