"""The recipe for speech in packages of Debian: its readers, its splits, and all stages on packages made here."""

import gzip
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from hainan_k2.data.audio_lists import read_table
from hainan_k2.model.whisper import WhisperEncoder
from hainan_k2.text import Normalisation, Tokenizer
from tests.formats.test_whisper_weights import ct2_file
from tests.recipes.shell import ROOT, bash

RECIPE = ROOT / "recipes" / "prompts"
sys.path.insert(0, str(RECIPE / "local"))

from sources import Line, dialogues, prompts, stamps
from splits import different, divide

SOUNDS = "a/usr/share/asterisk/sounds/fr_CA_f_June"
STAMPS = "t/usr/share/tuxpaint/stamps"
GAME = "usr/share/games/fillets-ng"
LUA = """
dialogId("let-m", "font_small", "What \\"ship\\"?")
dialogStr("Co je to za \\"loď\\"?")

dialogId("let-v", "font_big",
"Nothing -- yet")
dialogStr("Nic.")
dialogId("let-silent", "font_big", "?")
dialogStr("Tiché")
dialogId("let-krab0", "font_crab", "C%1.")
dialogStr("C%1.")
dialogId("let-krab", "font_crab", "Ouch")
dialogStr("Au!")
dialogId("let-oba", "font_both", "Oh")
dialogStr("Ach")
dialogId("let-kdo", "", "Who")
dialogStr("Kdo")
"""


def put_sound(path, seed=0, seconds=0.3, channels=1, rate=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).uniform(-0.1, 0.1, (int(seconds * rate), channels))
    soundfile.write(path, samples, rate)


def put_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode("utf-8")) if path.suffix == ".gz" else text.encode("utf-8"))


def test_prompts(tmp_path):
    listing = "\ufeff; Core Sounds\n\nactivated: activé\nletters/d: d\nlost: perdu\nbeep: [bip]\nempty:\nno colon\n"
    put_text(tmp_path / "b/doc/core-sounds-fr.txt.gz", listing)
    for i, name in enumerate(("activated", "letters/d", "beep", "empty")):
        put_sound(tmp_path / SOUNDS / f"{name}.wav", i)
    left_out = Counter()
    assert [(line.id, line.speaker, line.text, line.role) for line in prompts(tmp_path, "fr", left_out)] == [
        ("june-activated", "june", "activé", False),
        ("june-letters.d", "june", "d", False),
    ]
    assert left_out == {"prompt without a sound": 1, "prompt with signs": 1, "prompt without a text": 1}


def test_stamps(tmp_path):
    put_text(tmp_path / STAMPS / "food/apple.txt", "An apple.\nfr.utf8=Une pomme.\nfrp.utf8=Una poma.\nru.utf8=\n")
    put_text(tmp_path / STAMPS / "food/red pear.txt", "A pear.\nfr.utf8=Une poire = bonne.\n")
    for name in ("apple_desc_fr", "apple_desc_ru", "red pear_desc_fr", "plum_desc_fr"):
        put_sound(tmp_path / STAMPS / "food" / f"{name}.ogg")
    left_out = Counter()
    assert [(line.id, line.speaker, line.text) for line in stamps(tmp_path, "fr", left_out)] == [
        ("stamps-fr-food-apple_desc_fr", "stamps-fr", "Une pomme."),
        ("stamps-fr-food-red_pear_desc_fr", "stamps-fr", "Une poire = bonne."),
    ]
    assert left_out == {"stamp without a text": 1}
    assert not list(stamps(tmp_path, "ru", left_out)) and left_out["stamp without a text"] == 2


def test_dialogues(tmp_path):
    put_text(tmp_path / "f" / GAME / "script/airplane/dialogs_cs.lua", LUA)
    put_text(tmp_path / "f" / GAME / "script/share/black_dialogs_cs.lua", LUA.replace("let-", "smrt-"))
    put_text(tmp_path / "f" / GAME / "script/airplane/dialogs_csb.lua", LUA)
    for i, name in enumerate(("m", "v", "krab", "krab0", "oba", "kdo")):
        put_sound(tmp_path / "c" / GAME / f"sound/airplane/cs/let-{name}.ogg", i)
    put_sound(tmp_path / "c" / GAME / "sound/share/blackjokes/cs/smrt-v.ogg")
    left_out = Counter()
    assert [(line.id, line.speaker, line.text, line.role) for line in dialogues(tmp_path, "cs", left_out)] == [
        ("small-airplane-let-m", "small", 'Co je to za "loď"?', False),
        ("big-airplane-let-v", "big", "Nic.", False),
        ("crab-airplane-let-krab", "crab", "Au!", True),
        ("unknown-airplane-let-oba", "unknown", "Ach", False),
        ("unknown-airplane-let-kdo", "unknown", "Kdo", False),
        ("big-share-smrt-v", "big", "Nic.", False),
    ]
    assert left_out == {"dialogue without a sound": 1 + 6, "dialogue with a gap": 1}


def test_packages_that_are_not_there_or_of_another_form_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"has no \*\*/core-sounds-it.txt.gz: unpack the packages into it"):
        list(prompts(tmp_path, "it", Counter()))
    put_sound(tmp_path / SOUNDS / "activated.wav")
    put_text(tmp_path / "core-sounds-fr.txt.gz", "activated: activé\n")
    whole = (tmp_path / "core-sounds-fr.txt.gz").read_bytes()
    for damaged in (b"activated: a", whole[:-9], gzip.compress(b"activated: \xe9"), whole[:12] + b"\xff" + whole[13:]):
        (tmp_path / "core-sounds-fr.txt.gz").write_bytes(damaged)
        with pytest.raises(ValueError, match="core-sounds-fr.txt.gz: no text in UTF-8 compressed by gzip"):
            list(prompts(tmp_path, "fr", Counter()))
    put_sound(tmp_path / GAME / "sound/airplane/nl/let-m.ogg")
    put_text(tmp_path / GAME / "script/airplane/dialogs_nl.lua", "dialogId('let-m', 'font_small', 'x')\n")
    with pytest.raises(ValueError, match="dialogs_nl.lua: no dialogue of the form"):
        list(dialogues(tmp_path, "nl", Counter()))


@given(st.lists(st.tuples(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), st.booleans()), max_size=60))
def test_no_text_of_the_training_data_is_in_another_split(drawn):
    lines = [(Line(str(i), "s", Path("x"), text, role), text) for i, (text, role) in enumerate(drawn)]
    left_out = Counter()
    splits = divide(lines, left_out)
    texts = {name: {line.text for line in of_split} for name, of_split in splits.items()}
    trained = texts.pop("train", set())
    assert not trained & set().union(*texts.values())
    assert not texts.get("dev", set()) & texts.get("test", set())
    assert all(line.role == (name == "test-roles") for name, of_split in splits.items() for line in of_split)
    assert sum(map(len, splits.values())) + sum(left_out.values()) == len(lines)
    assert sum(left_out.values()) == sum(role and text in trained for text, role in drawn)


def test_copies_and_lines_without_words_are_left_out_and_counted(tmp_path):
    put_sound(tmp_path / "a.wav", 1)
    put_sound(tmp_path / "b.wav", 2)
    put_sound(tmp_path / "c.wav", 3)
    shutil.copy(tmp_path / "a.wav", tmp_path / "copy.wav")
    given = [("1", "a", "Ja!"), ("2", "copy", "Ja."), ("3", "b", "..."), ("1", "c", "Nee"), ("4", "b", "Ja")]
    left_out = Counter()
    lines = [Line(name, "s", tmp_path / f"{file}.wav", text) for name, file, text in given]
    kept = different(lines, Normalisation("dutch"), left_out)
    assert [(line.id, normal) for line, normal in kept] == [("1", "ja"), ("4", "ja")]
    assert left_out == {"copy of another file": 1, "no words": 1, "second line of an id": 1}


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "--lang is fr, es, it, ru, cs or nl, not ''"),
        (["--lang", "de"], "no package holds German sentences with their texts; ../mls/run.sh trains on German"),
        (["--lang", "fr", "--train-config", "lost"], "no such file: --train-config lost"),
    ],
)
def test_bad_options(tmp_path, options, message):
    done = bash(f'"{RECIPE}/run.sh" --environment false "$@"', *options, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


SMALL = """preset: whisper-base
whisper_dim: 128
whisper_layers: 1
whisper_heads: 2
d_model: 16
num_layers: 1
num_heads: 2
predictor_dim: 16
joiner_dim: 16
encoder_lr: 0
num_epochs: 1
num_workers: 0
"""


def put_weights(folder):
    """Weights of a small random Whisper encoder, and options of training for its size."""
    torch.manual_seed(0)
    (folder / "weights.bin").write_bytes(ct2_file(WhisperEncoder(128, 1, 2).eval().state_dict()))
    (folder / "small.yaml").write_text(SMALL)


def run(folder, recipe, *options):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = f'export PATH="{path}" PYTHONPATH="{ROOT}:${{PYTHONPATH:-}}"\n"{recipe}/run.sh" --environment false '
    return bash(script + '--data-dir data --exp-dir exp --num-jobs 1 "$@"', *options, cwd=folder)


def results(done):
    """(test set, method) of the rows of the last table that a recipe printed, in order."""
    rows = [row.split("|") for row in done.stdout.splitlines() if row.startswith("| test")]
    return sorted((row[1].strip(), row[2].strip()) for row in rows if row[2].strip().endswith("-greedy"))


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")
def test_all_stages_on_small_packages(tmp_path):
    texts = [
        f"{a} {b} {c}" for a in ("malá", "velká", "žlutá") for b in ("ryba", "loď") for c in ("plave", "čeká", "je")
    ]
    roles = ["krab štípe", "šnek má čas"]
    script, lines = [], [(text, "font_small") for text in texts] + [(text, "font_crab") for text in roles]
    for i, (text, font) in enumerate(lines):
        script.append(f'dialogId("d{i}", "{font}", "x")\ndialogStr("{text}!")\n')
        sound = tmp_path / "fillets-ng-data-cs" / GAME / f"sound/airplane/cs/d{i}.ogg"
        put_sound(sound, i, 0.8, channels=1 + i % 2, rate=22050)
    put_text(tmp_path / "fillets-ng-data" / GAME / "script/airplane/dialogs_cs.lua", "\n".join(script))
    (tmp_path / "download").mkdir()
    for package in ("fillets-ng-data", "fillets-ng-data-cs"):
        control = f"Package: {package}\nVersion: 1.0\nArchitecture: all\nMaintainer: test\nDescription: test\n"
        put_text(tmp_path / package / "DEBIAN/control", control)
        file = tmp_path / "download" / f"{package}_1.0_all.deb"
        subprocess.run(["dpkg-deb", "--build", tmp_path / package, file], check=True, capture_output=True)
    put_weights(tmp_path)
    options = ["--lang", "cs", "--download-dir", "download", "--encoder-weights", "weights.bin", "--vocab-size", "40"]
    done = run(tmp_path, RECIPE, *options, "--train-config", "small.yaml", "--train-args", "--device cpu")
    assert done.returncode == 0, done.stderr
    assert results(done) == [(s, f"{m}-greedy") for s in ("test", "test-roles") for m in ("ar", "nar")]
    tables = {path.stem: read_table(path)[0] for path in (tmp_path / "data" / "corpus").glob("*.csv")}
    assert {name: len(of_table) for name, of_table in tables.items() if name == "test-roles"} == {"test-roles": 2}
    assert sum(map(len, tables.values())) == len(lines)
    audio = [utterance.audio.path for of_table in tables.values() for utterance in of_table]
    assert sum(path.parent.name == "mono" for path in audio) == len(lines) // 2
    assert all(soundfile.info(path).channels == 1 for path in audio)
    tokenizer = Tokenizer(tmp_path / "data" / "lang_bpe_40")
    assert tokenizer.normalisation == "czech" and tokenizer.decode(tokenizer.encode("Žlutá loď!")) == "žlutá loď"
    recogs = (tmp_path / "exp" / "decode" / "recogs-test-roles-ar-greedy.txt").read_text(encoding="utf-8")
    assert "ref=['šnek', 'má', 'čas']" in recogs
    again = run(tmp_path, RECIPE, *options, "--train-config", "small.yaml", "--train-args", "--device cpu")
    assert again.returncode == 0 and again.stderr.count("is done: ") == 6
