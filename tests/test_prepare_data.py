"""hainan-data: every form of a corpus gives the same cuts; splits, formats, normalisation."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from lhotse import CutSet
from lhotse.supervision import AlignmentItem

from hainan_k2.prepare_data import FORMATS, KINDS, PrepareConfig, main
from tests.data.corpora import SEGMENTS, WRITERS, make_cuts, write_cuts, write_folder, write_kaldi, write_nemo


def run(*arguments):
    main([str(argument) for argument in arguments])


def refused(capsys, *arguments) -> str:
    """The one line of an error."""
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    return line.partition("error: ")[2]


def cuts_of(folder, split):
    return {cut.id: cut for cut in CutSet.from_file(folder / f"cuts_{split}.jsonl.gz")}


def test_the_tables_of_the_command_are_those_of_the_readers_and_writers():
    from hainan_k2.data.exports import EXPORTS
    from hainan_k2.data.sources import READERS

    assert set(KINDS) == {"auto", *READERS} and set(FORMATS) == {"cuts", *EXPORTS}
    assert PrepareConfig(("a/train.json", "b/x_cuts_dev.jsonl.gz"), "out").names == ["train", "dev"]


@pytest.mark.parametrize("kind", WRITERS)
def test_every_form_gives_the_same_utterances(tmp_path, kind):
    source = WRITERS[kind](tmp_path)
    run(source, "--out-dir", tmp_path / "out", "--split", "x", "--allow-pipes", "true")
    cuts = cuts_of(tmp_path / "out", "x")
    assert set(cuts) == {segment[0] for segment in SEGMENTS}
    for name, recording, start, end, speaker, text in SEGMENTS:
        cut = cuts[name]
        (supervision,) = cut.supervisions
        assert (supervision.text, supervision.speaker, supervision.start) == (text, speaker, 0.0)
        expected, rate = soundfile.read(tmp_path / "audio" / f"{recording}.wav", dtype="float32")
        np.testing.assert_array_equal(cut.load_audio()[0], expected[round(start * rate) : round(end * rate)])
        assert cut.recording.sources[0].type == "file"


def test_a_folder_of_audio_with_texts(tmp_path):
    source = write_folder(tmp_path)
    run(source, "--out-dir", tmp_path / "out")
    cuts = cuts_of(tmp_path / "out", "speech")
    assert {name: cut.supervisions[0].text for name, cut in cuts.items()} == {
        "speech-day_1-note": "The text of note.",
        "speech-day_1-talk": "The text of talk.",
    }


def test_a_pipe_runs_only_where_it_is_allowed(tmp_path, capsys):
    kaldi, proof = write_kaldi(tmp_path), tmp_path / "ran"
    (kaldi / "wav.scp").write_text(
        f"note touch {proof}; cat {tmp_path}/audio/note.wav |\ntalk {tmp_path}/audio/talk.wav\n"
    )
    message = refused(capsys, kaldi, "--out-dir", tmp_path / "out")
    assert message.startswith(f"{kaldi}/wav.scp:1: note is a shell command (touch ") and "--allow-pipes true" in message
    assert not proof.exists()
    run(kaldi, "--out-dir", tmp_path / "out", "--allow-pipes")
    assert proof.exists() and (tmp_path / "out" / "audio" / "kaldi" / "note.flac").is_file()
    proof.unlink()
    assert cuts_of(tmp_path / "out", "kaldi")["ann-1"].load_audio().shape == (1, 16000)
    assert not proof.exists()  # what the pipe wrote was stored


def test_a_pipe_that_fails(tmp_path, capsys):
    kaldi = write_kaldi(tmp_path)
    for command, reason in (("echo oh no >&2; exit 3", "exit code 3"), ("echo noise", "not an audio file")):
        (kaldi / "wav.scp").write_text(f"note {command} |\ntalk {tmp_path}/audio/talk.wav\n")
        message = refused(capsys, kaldi, "--out-dir", tmp_path / "out", "--allow-pipes")
        assert f"{kaldi}/segments:3: ann-1: " in message and reason in message


def test_what_is_left_out_is_named_and_counted(tmp_path, capsys, caplog):
    manifest = write_nemo(tmp_path)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    lines[0]["text"] = "(coughs)"
    lines[1]["duration"] = 5.0
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = ["--out-dir", tmp_path / "out", "--normalise", "english"]
    message = refused(capsys, manifest, *options)
    assert message.startswith(f"empty transcript: {manifest}:1: joe-1 has no words: 2 left out (1 beyond the recording")
    assert "of 3 utterances" in message and message.endswith("--max-left-out 0.667 would allow that")
    assert f"beyond the recording: {manifest}:2: joe-2 is from 0.75 to 5.75 s of a recording of 2 s" in caplog.text
    with caplog.at_level("INFO"):
        run(manifest, *options, "--max-left-out", "0.667")
    assert list(cuts_of(tmp_path / "out", "nemo")) == ["ann-1"]
    assert "nemo: 1 utterances" in caplog.text


def test_texts_are_normalised_as_chosen(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules_of_mine.py").write_text("def upper(text):\n    return text.upper()\n")
    texts = {}
    for choice in ("none", "english", "lower", "rules_of_mine:upper"):
        run(write_nemo(tmp_path), "--out-dir", tmp_path / "out", "--normalise", choice)
        texts[choice] = [cut.supervisions[0].text for cut in cuts_of(tmp_path / "out", "nemo").values()][:2]
    assert texts == {
        "none": ["Alfa, bravo!", "cocoa 7"],
        "english": ["alfa bravo", "cocoa seven"],
        "lower": ["alfa, bravo!", "cocoa 7"],
        "rules_of_mine:upper": ["ALFA, BRAVO!", "COCOA 7"],
    }
    options = [tmp_path / "nemo.json", "--out-dir", tmp_path / "out", "--normalise"]
    assert "rules_of_mine:lost: no such function" in refused(capsys, *options, "rules_of_mine:lost")
    assert "it is english, lower, none or module:function" in refused(capsys, *options, "german")


def test_a_file_of_options_cannot_name_a_function(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "careless.py").write_text("open('imported', 'w')\ndef upper(text):\n    return text.upper()\n")
    (tmp_path / "options.yaml").write_text(f"out_dir: {tmp_path}/out\nnormalise: careless:upper\n")
    message = refused(capsys, write_nemo(tmp_path), "--config", tmp_path / "options.yaml")
    assert "if you trust it, give --normalise careless:upper" in message and not (tmp_path / "imported").exists()


def test_several_sources_share_no_ids(tmp_path, capsys, caplog):
    first = write_nemo(tmp_path)
    second = first.with_name("dev.json")
    shutil.copy(first, second)
    message = refused(capsys, first, second, "--out-dir", tmp_path / "out")
    assert message.startswith(f"duplicate id: {second}:1: joe-1 is there already: nothing is left of {second}")
    assert set(cuts_of(tmp_path / "out", "nemo")) == {segment[0] for segment in SEGMENTS}


def test_parts_are_held_out_by_speaker(tmp_path, capsys):
    write_folder(tmp_path)
    rows = [f"speech/day 1/note.wav,{i:02d},s{i % 24},{0.02 * i},{0.02 * i + 0.03}\n" for i in range(48)]
    (tmp_path / "all.csv").write_text("path,text,speaker,start,end\n" + "".join(rows))
    run(tmp_path / "all.csv", "--out-dir", tmp_path / "out", "--hold-out", "dev=0.1,test=0.2", "--split", "train")
    parts = {name: cuts_of(tmp_path / "out", name).values() for name in ("train", "dev", "test")}
    speakers = {name: {cut.supervisions[0].speaker for cut in part} for name, part in parts.items()}
    assert sum(map(len, speakers.values())) == 24 and [len(speakers[n]) for n in ("dev", "test")] == [3, 5]
    assert sum(map(len, parts.values())) == 48
    options = [tmp_path / "all.csv", "--out-dir", tmp_path / "out", "--hold-out"]
    assert "it should be NAME=FRACTION" in refused(capsys, *options, "dev")
    assert "each part needs a name of its own" in refused(capsys, *options, "dev=0.1,dev=0.2")
    assert "add up to less than 1" in refused(capsys, *options, "dev=0.5,test=0.5")
    assert "the name of the split itself" in refused(capsys, *options, "all=0.5")


def test_to_other_formats_and_back(tmp_path):
    source, out = write_cuts(tmp_path), tmp_path / "out"
    run(source, "--out-dir", out, "--split", "x", "--to", "cuts,kaldi,nemo,trn,shar")
    assert (out / "x.trn").read_text() == "".join(f"{s[5]} ({s[0]})\n" for s in SEGMENTS)
    assert (out / "x" / "spk2utt").read_text() == "ann ann-1\njoe joe-1 joe-2\n"
    for name in ("x", "x.json", "shar_x", "cuts_x.jsonl.gz"):
        run(out / name, "--out-dir", tmp_path / "back", "--split", name.split(".")[0])
        again, before = cuts_of(tmp_path / "back", name.split(".")[0]), cuts_of(out, "x")
        assert set(again) == set(before)
        for name, cut in before.items():
            assert again[name].supervisions[0].text == cut.supervisions[0].text
            assert again[name].supervisions[0].speaker == cut.supervisions[0].speaker
            np.testing.assert_array_equal(again[name].load_audio(), cut.load_audio())


def test_word_times_become_ctm(tmp_path, capsys):
    cuts = list(make_cuts(tmp_path))
    options = ["--out-dir", tmp_path / "out", "--to", "ctm"]
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    assert "joe-1 has no times of words: hainan-align" in refused(capsys, tmp_path / "cuts.jsonl.gz", *options)
    for cut in cuts:
        cut.supervisions = [
            s.with_alignment("word", [AlignmentItem("word", s.start + 0.25, 0.125, 0.5)]) for s in cut.supervisions
        ]
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    run(tmp_path / "cuts.jsonl.gz", *options)
    assert (tmp_path / "out" / "cuts.ctm").read_text().splitlines() == [
        f"{name} 1 0.250 0.125 word 0.500" for name, *_ in SEGMENTS
    ]


def test_the_source_is_not_written_over(tmp_path, capsys):
    cuts, kaldi = write_cuts(tmp_path), write_kaldi(tmp_path, pipe=False)
    named = cuts.rename(tmp_path / "cuts_x.jsonl.gz")
    for source, options in ((named, []), (kaldi, ["--to", "kaldi"])):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert f"{source} is what is read" in refused(capsys, source, "--out-dir", tmp_path, *options)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    other = shutil.copy(named, tmp_path / "cuts_y.jsonl.gz")
    both = [named, other, "--out-dir", tmp_path, "--split", "y,x"]  # each source would replace the other
    assert f"{other} is what is read" in refused(capsys, *both) and not (tmp_path / "recordings_y.jsonl.gz").exists()
