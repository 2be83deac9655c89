"""Cuts whose audio is in no file of its own: what cannot be read or stored is a problem of its line."""

from pathlib import Path

from lhotse import CutSet, MonoCut
from lhotse.audio import AudioLoadingError

from hainan_k2.data.lhotse_cuts import read_cuts
from tests.data.corpus import write_cuts


def resampled(folder: Path, names: list[str]) -> list:
    """Cuts of those ids whose audio is computed from files."""
    cuts = write_cuts(folder / "audio", len(names)).resample(8000)
    return [cut.with_id(name) for name, cut in zip(names, cuts)]


def test_audio_that_cannot_be_read_is_named_and_the_others_are_kept(tmp_path, monkeypatch):
    CutSet.from_cuts(resampled(tmp_path, ["a", "b", "c"])).to_file(tmp_path / "cuts.jsonl")
    load = MonoCut.load_audio

    def unreadable(cut):  # for a damaged file lhotse tries all its readers, which takes seconds
        if cut.id == "b":
            raise AudioLoadingError("no reader\ncan read it")
        return load(cut)

    monkeypatch.setattr(MonoCut, "load_audio", unreadable)
    utterances, (problem,) = read_cuts(tmp_path / "cuts.jsonl", False, tmp_path / "stored")
    assert [utterance.id for utterance in utterances] == ["a", "c"]
    assert str(problem) == f"bad audio: {tmp_path}/cuts.jsonl:2: b: no reader can read it"
    assert sorted(path.name for path in (tmp_path / "stored").iterdir()) == ["a.flac", "c.flac"]


def test_a_second_cut_of_an_id_does_not_replace_the_audio_of_the_first(tmp_path):
    first, second = resampled(tmp_path, ["a", "a"])
    stored = []
    for cuts in ([first], [first, second]):
        path = tmp_path / f"{len(cuts)}.jsonl"
        path.write_text("")
        for cut in cuts:
            CutSet.from_cuts([cut]).to_file(tmp_path / "one.jsonl")
            path.write_text(path.read_text() + (tmp_path / "one.jsonl").read_text())
        utterances, problems = read_cuts(path, False, tmp_path / f"stored{len(cuts)}")
        assert len(utterances) == 1 and len(problems) == len(cuts) - 1
        stored.append(utterances[0].audio.path.read_bytes())
    assert str(problems[0]) == f"duplicate id: {path}:2: a is there already" and stored[0] == stored[1]
