"""chords.py: the corpus, and that its words have more characters than frames."""

import pytest
from lhotse import CutSet

from hainan_k2.frames import ENCODER_FRAME_SHIFT
from recipes.shared import chords


def test_the_corpus(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(chords, "SETS", {"train": 6, "test": 3})
    chords.main(["--dir", str(tmp_path / "a")])
    sets = {name: list(CutSet.from_file(tmp_path / "a" / f"{name}.jsonl.gz")) for name in ("train", "test")}
    assert [len(cuts) for cuts in sets.values()] == [6, 3]
    for cut in (*sets["train"], *sets["test"]):
        words = cut.supervisions[0].text.split()
        assert 1 <= len(words) <= 4 and set(words) <= set(chords.WORDS)
        assert cut.duration == pytest.approx(0.1 + 0.42 * len(words))
        assert cut.load_audio().shape == (1, cut.num_samples)
    assert (tmp_path / "a" / "text.txt").read_text().split().count("hotel") == 8
    with pytest.raises(SystemExit):
        chords.main(["--dir", str(tmp_path / "a")])
    assert "has a corpus already" in capsys.readouterr().err
    chords.main(["--dir", str(tmp_path / "b"), "--seed", "1"])
    assert [cut.supervisions[0].text for cut in CutSet.from_file(tmp_path / "b" / "train.jsonl.gz")] != [
        cut.supervisions[0].text for cut in sets["train"]
    ]


def test_tokens_are_denser_than_frames_at_a_fast_pace(tmp_path):
    letters = [len(word) + 1 for word in chords.WORDS]  # and the mark of a word's start
    cuts = CutSet.from_file(chords.make_cuts(tmp_path, "fast", 5, seed=0, word_seconds=0.2, pause=0.05))
    for cut in cuts:
        words = len(cut.supervisions[0].text.split())
        assert cut.duration == pytest.approx(0.05 + 0.25 * words)
        assert cut.duration / ENCODER_FRAME_SHIFT < words * min(letters)
