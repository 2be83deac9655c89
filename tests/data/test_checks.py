"""Checks of utterances: the cuts that are kept against a comparison of all pairs; ids of recordings."""

import soundfile
from hypothesis import given
from hypothesis import strategies as st
from lhotse import AudioSource, MonoCut, Recording

from hainan_k2.data.checks import KeptCuts, check_utterances
from hainan_k2.data.utterances import Audio, Utterance
from tests.data.corpus import babble

RECORDING = Recording("r", [AudioSource("file", [0], "r.wav")], 16000, 16000 * 60, 60.0)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 15)), max_size=25))
def test_neighbours_decide_which_cuts_share_too_much(segments):
    kept, expected = KeptCuts(), []
    for number, (start, duration) in enumerate(segments):
        shared = [min(start + duration, s + d) - max(start, s) > min(duration, d) / 2 for s, d in expected]
        cut = MonoCut(f"c{number}", float(start), float(duration), 0, [], recording=RECORDING)
        problem = kept.add(cut, "segments:1")
        assert (problem is None) == (not any(shared))
        if problem is None:
            expected.append((start, duration))
    assert [(cut.start, cut.duration) for cut in kept.cuts] == sorted(expected)


def test_files_of_one_id_are_not_taken_for_one_recording(tmp_path):
    """talk.wav and talk.flac have the same id: an export by recordings would give both the audio of one."""
    paths = [tmp_path / "talk.wav", tmp_path / "talk.flac"]
    for seed, path in enumerate(paths):
        soundfile.write(path, babble(16000, seed), 16000)
    utterances = [Utterance(path.suffix[1:], Audio("talk", path), "hello", source="x.csv:2") for path in paths]
    checked = check_utterances([*utterances, Utterance("part", Audio("talk", paths[0]), "hello", "joe", end=0.5)])
    assert [cut.id for cut in checked.cuts] == ["wav", "part"]
    (problem,) = checked.problems
    assert str(problem).startswith(
        f"duplicate id: x.csv:2: flac: {paths[1]}: the id of its recording, talk, is that of"
    )
