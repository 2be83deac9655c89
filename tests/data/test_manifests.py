import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, RecordingSet, SupervisionSet
from lhotse.recipes import prepare_librispeech
from lhotse.supervision import AlignmentItem

from hainan_k2.data.checks import check_utterances
from hainan_k2.data.librispeech import read_librispeech
from hainan_k2.data.manifests import write_manifests
from hainan_k2.data.utterances import Audio, Utterance
from hainan_k2.prepare_data import main
from tests.data.corpus import babble, write_corpus

SCRIPT = Path(__file__).parents[2] / "hainan_k2" / "prepare_data.py"


def prepare(corpus: Path, out_dir: Path, *splits: str) -> None:
    sources = [str(corpus / split) for split in splits]
    main([*sources, "--kind", "librispeech", "--out-dir", str(out_dir), "--max-left-out", "1"])


def chapter_of(corpus: Path, split: str = "train") -> Path:
    return next((corpus / split).glob("*/*"))


def edit_transcript(corpus: Path, old: str, new: str) -> None:
    path = chapter_of(corpus) / "1-10.trans.txt"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def kept_ids(out_dir: Path, split: str = "train") -> list[str]:
    return [cut.id for cut in CutSet.from_file(out_dir / f"cuts_{split}.jsonl.gz")]


@pytest.mark.parametrize("aligned", [False, True])
def test_manifests_of_a_corpus_without_problems_equal_those_of_lhotse(tmp_path, aligned):
    corpus = write_corpus(tmp_path, "train")
    if aligned:
        (chapter_of(corpus) / "1-10.alignment.txt").write_text(
            '1-10-0000 ",ALFA," "0.1,0.3,0.5"\n1-10-0001 ",ALFA,BRAVO," "0.1,0.2,0.3,0.6"\n'
        )
    prepare(corpus, tmp_path / "out", "train")
    theirs = prepare_librispeech(corpus, dataset_parts=["train"])["train"]
    recordings = RecordingSet.from_file(tmp_path / "out" / "recordings_train.jsonl.gz")
    supervisions = SupervisionSet.from_file(tmp_path / "out" / "supervisions_train.jsonl.gz")
    assert list(recordings) == list(theirs["recordings"])
    assert list(supervisions) == list(theirs["supervisions"])
    assert any(s.alignment for s in supervisions) == aligned
    for cut in CutSet.from_file(tmp_path / "out" / "cuts_train.jsonl.gz"):
        assert cut.supervisions == [theirs["supervisions"][cut.id]]
        assert cut.load_audio().shape == (1, cut.num_samples)


def test_utterances_with_problems_are_named_and_the_others_kept(tmp_path):
    corpus = write_corpus(tmp_path, "train")
    chapter = chapter_of(corpus)
    truncated = chapter / "1-10-0001.flac"
    truncated.write_bytes(truncated.read_bytes()[:4000])
    edit_transcript(corpus, "1-10-0003 ALFA BRAVO COCOA DELTA\n", "")
    edit_transcript(corpus, "1-10-0004 ALFA BRAVO COCOA DELTA ECHO", "1-10-0004  ")
    done = subprocess.run(
        [sys.executable, SCRIPT, corpus / "train", "--out-dir", "manifests", "--max-left-out", "0.5"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"WARNING bad audio: {chapter / '1-10.trans.txt'}:2: 1-10-0001: {truncated}: truncated" in done.stderr
    assert f"WARNING missing transcript: {chapter / '1-10-0003.flac'}: 1-10.trans.txt has no" in done.stderr
    assert f"WARNING empty transcript: {chapter / '1-10.trans.txt'}:4: 1-10-0004 has no text" in done.stderr
    assert done.stderr.count("WARNING") == 3
    counts = "1 bad audio, 1 empty transcript, 1 missing transcript"
    assert f"train (librispeech): 3 left out ({counts})" in done.stderr
    assert "train: 3 utterances, 0.00 h" in done.stderr
    assert kept_ids(tmp_path / "manifests") == ["1-10-0000", "1-10-0002", "1-10-0005"]


def test_other_problems(tmp_path, caplog):
    corpus = write_corpus(tmp_path, "train", utterances=9)
    chapter = chapter_of(corpus)
    transcript = chapter / "1-10.trans.txt"
    lines = transcript.read_bytes().splitlines()
    lines[1] = lines[0]  # an id twice, and so no text for 0001
    lines[2] = b""
    lines[3] = b"1-10-0003 CAF\xe9"
    transcript.write_bytes(b"\n".join(lines))
    (chapter / "1-10-0004.flac").unlink()
    soundfile.write(chapter / "1-10-0005.flac", np.zeros((8000, 2)), 16000)
    soundfile.write(chapter / "1-10-0006.flac", np.zeros(300), 16000)
    (chapter / "1-10-0007.flac").write_text("no audio")
    lost = corpus / "train" / "2" / "20" / "2-20-0000.flac"
    lost.parent.mkdir(parents=True)
    soundfile.write(lost, babble(8000, seed=1), 16000)
    prepare(corpus, tmp_path / "out", "train")
    for text in [
        f"duplicate id: {transcript}:2: 1-10-0000 is there already",
        f"blank line: {transcript}:3: ",
        f"unreadable transcript: {transcript}:4: the text of 1-10-0003 is not UTF-8",
        f"missing audio: {transcript}:5: there is no 1-10-0004.flac beside it",
        f"bad audio: {transcript}:6: 1-10-0005: {chapter / '1-10-0005.flac'} has 2 channels instead of one",
        f"bad audio: {transcript}:7: 1-10-0006: {chapter / '1-10-0006.flac'}: only 300 samples at 16000 Hz",
        f"bad audio: {transcript}:8: 1-10-0007: {chapter / '1-10-0007.flac'}: not an audio file",
        f"missing transcript: {chapter / '1-10-0001.flac'}: 1-10.trans.txt has no line for it",
        f"missing transcript: {lost}: 2-20.trans.txt is not there",
    ]:
        assert text in caplog.text
    assert sum(r.levelname == "WARNING" for r in caplog.records) == 10  # with 0002's missing text
    assert kept_ids(tmp_path / "out") == ["1-10-0000", "1-10-0008"]


def test_an_id_of_an_earlier_split_is_a_duplicate(tmp_path, caplog):
    write_corpus(tmp_path, "train", 4)
    corpus = write_corpus(tmp_path, "dev", 6)
    prepare(corpus, tmp_path / "out", "train", "dev")
    assert kept_ids(tmp_path / "out", "dev") == ["1-10-0004", "1-10-0005"]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert sum(message.startswith("duplicate id") for message in warnings) == len(warnings) == 4


def test_a_list_of_utterances(tmp_path):
    path = tmp_path / "line.wav"
    soundfile.write(path, babble(11025, seed=1), 11025)
    utterances = [
        Utterance("joe-1", Audio("joe-1", path), " hello  there ", "JOE"),
        Utterance("joe-2", Audio("joe-2", path), " ", "JOE"),
        Utterance("joe-3", Audio("joe-3", tmp_path / "none.wav"), "hello", "JOE"),
    ]
    checked = check_utterances(utterances)
    write_manifests(checked.cuts, tmp_path / "out", "train", prefix="queen")
    assert [cut.duration for cut in checked.cuts] == [1.0]
    assert sorted(p.kind for p in checked.problems) == ["empty transcript", "missing audio"]
    (cut,) = CutSet.from_file(tmp_path / "out" / "queen_cuts_train.jsonl.gz")
    assert (cut.supervisions[0].speaker, cut.supervisions[0].text) == ("JOE", "hello  there")
    assert cut.sampling_rate == 11025


def failure(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as stopped:
        prepare(*arguments)
    assert stopped.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(lines) == 1
    return lines[0]


def test_a_split_without_utterances_is_an_error_after_the_other_splits_are_written(tmp_path, capsys):
    corpus = write_corpus(tmp_path, "train", 2)
    write_corpus(tmp_path, "dev", 2, speaker=2)
    (chapter_of(corpus) / "1-10.trans.txt").unlink()
    assert "nothing is left of " in failure(capsys, corpus, tmp_path / "out", "train", "dev")
    assert len(kept_ids(tmp_path / "out", "dev")) == 2
    assert not (tmp_path / "out" / "cuts_train.jsonl.gz").exists()


def test_no_such_folder(tmp_path, capsys):
    corpus = write_corpus(tmp_path, "train", 1)
    write_corpus(tmp_path, "dev", 1)
    assert f"{corpus / 'test'}: no such folder; {corpus} holds dev, train" in failure(
        capsys, corpus, tmp_path / "out", "test"
    )


def test_unreadable_alignments(tmp_path):
    corpus = write_corpus(tmp_path, "train", 2)
    (chapter_of(corpus) / "1-10.alignment.txt").write_text("1-10-0000 one two three four\n")
    with pytest.raises(ValueError, match="1-10.alignment.txt: lines are not all of the form"):
        read_librispeech(corpus / "train")


def test_alignments_reach_their_utterances(tmp_path):
    corpus = write_corpus(tmp_path, "train", 2)
    (chapter_of(corpus) / "1-10.alignment.txt").write_text('1-10-0001 "A,B" "0.5,1.25"\n')
    utterances, problems = read_librispeech(corpus / "train")
    assert not problems
    times = (AlignmentItem("A", 0.0, 0.5), AlignmentItem("B", 0.5, 0.75))
    assert [u.alignment for u in utterances] == [(), times]


def test_a_second_run_writes_the_same_files_and_leaves_no_partial_ones(tmp_path):
    corpus = write_corpus(tmp_path, "train")
    contents = []
    for _ in range(2):
        prepare(corpus, tmp_path / "out", "train")
        contents.append(list(CutSet.from_file(tmp_path / "out" / "cuts_train.jsonl.gz")))
    assert contents[0] == contents[1]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        f"{kind}_train.jsonl.gz" for kind in ("cuts", "recordings", "supervisions")
    ]
