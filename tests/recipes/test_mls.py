"""The recipe for Multilingual LibriSpeech: all stages on a corpus of the same layout, made here of noise."""

import sys

import pytest
import soundfile

from hainan_k2.data.audio_lists import read_table
from hainan_k2.text import Tokenizer
from tests.recipes.shell import ROOT, bash
from tests.recipes.test_prompts import put_sound, put_text, put_weights, results, run

RECIPE = ROOT / "recipes" / "mls"
COUNTS = {"train": 16, "dev": 3, "test": 3}
WORDS = "über straße größe hören und grüne ganz schön lied maß jäger öl".split()


def put_corpus(folder, ending="flac"):
    """mls_german in `folder`, with two speakers and two books in each split and the lists of limited supervision."""
    root = folder / "mls_german"
    for split, count in COUNTS.items():
        transcripts, segments = "", ""
        for i in range(count):
            speaker, book = 10 * len(split) + i % 2, 100 + i // 8
            name = f"{speaker}_{book}_{i:06d}"
            text = " ".join(WORDS[(i + k * (i % 5 + 1)) % len(WORDS)] for k in range(3))
            transcripts += f"{name}\t{text}\n"
            segments += f"{name}\thttp://archive.org/{book}.mp3\t{i}.0\t{i}.8\n"
            path = root / split / "audio" / str(speaker) / str(book) / f"{name}.{ending}"
            if ending == "opus":
                put_sound(path.with_suffix(".ogg"), i, 0.8, rate=16000)
                samples, rate = soundfile.read(path.with_suffix(".ogg"))
                path.with_suffix(".ogg").unlink()
                soundfile.write(path, samples, rate, format="OGG", subtype="OPUS")
            else:
                put_sound(path, i, 0.8, rate=16000)
        put_text(root / split / "transcripts.txt", transcripts)
        put_text(root / split / "segments.txt", segments)
    names = [line.split("\t")[0] for line in (root / "train" / "transcripts.txt").read_text("utf-8").splitlines()]
    lists = root / "train" / "limited_supervision"
    put_text(lists / "9hr" / "handles.txt", "\n".join(names[:6]) + "\n")
    for i in range(6):
        put_text(lists / "1hr" / str(i) / "handles.txt", f"{names[6 + i]}\n")
    return names


def prepared(folder, *options):
    """What prepare.py does with a corpus: the process, and the utterances of the training table."""
    command = f'"{sys.executable}" "{RECIPE}/local/prepare.py" --mls mls_german --dir tables "$@"'
    done = bash(f'export PYTHONPATH="{ROOT}"\n{command}', *options, cwd=folder)
    table = folder / "tables" / "train.csv"
    return done, read_table(table)[0] if table.is_file() else []


@pytest.mark.parametrize("subset, chosen", [("full", slice(16)), ("10h", slice(12)), ("1h", slice(6, 12))])
def test_subsets_of_the_training_data(tmp_path, subset, chosen):
    names = put_corpus(tmp_path)
    done, utterances = prepared(tmp_path, "--subset", subset)
    assert done.returncode == 0, done.stderr
    assert [utterance.id for utterance in utterances] == names[chosen]
    first = utterances[0]
    assert first.speaker == first.id.split("_")[0] and first.audio.path.is_file()
    assert [len(read_table(tmp_path / "tables" / f"{split}.csv")[0]) for split in ("dev", "test")] == [3, 3]


def test_what_does_not_fit_is_named(tmp_path):
    put_corpus(tmp_path)
    train = tmp_path / "mls_german" / "train"
    text, handles = train / "transcripts.txt", train / "limited_supervision" / "9hr" / "handles.txt"
    put_sound(train / "audio" / "50" / "100" / "50_100_000099.flac")
    assert "train: 1 audio files without a transcript, e.g. " in prepared(tmp_path)[0].stderr
    whole = text.read_text("utf-8")
    for content, message in (
        (whole + "50_100\tab\n", "transcripts.txt:17: '50_100' is not SPEAKER_BOOK_NUMBER with a tab after it"),
        (whole + "50_100_1 ab\n", "transcripts.txt:17: '50_100_1 ab' is not SPEAKER_BOOK_NUMBER"),
        (whole + "50_../x_1\tab\n", "transcripts.txt:17: '50_../x_1' is not SPEAKER_BOOK_NUMBER"),
        (whole + whole.splitlines()[0] + "\n", "transcripts.txt:17: 50_100_000000 a second time"),
        ("\n", "transcripts.txt: no transcripts in it"),
    ):
        text.write_text(content, "utf-8")
        done, _ = prepared(tmp_path)
        assert done.returncode == 2 and message in done.stderr.splitlines()[-1], done.stderr
    text.write_text(whole, "utf-8")
    handles.write_text("50_100_000000\n\n9_9_9\n")
    done, _ = prepared(tmp_path, "--subset", "10h")
    assert done.returncode == 2 and "9hr/handles.txt:3: '9_9_9' is not in transcripts.txt" in done.stderr
    handles.unlink()
    done, _ = prepared(tmp_path, "--subset", "10h")
    assert done.returncode == 2 and "has no 9hr/handles.txt, which subset 10h needs" in done.stderr


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "--dl-dir is required: the folder with mls_german"),
        (["--dl-dir", "."], "--dl-dir . has no mls_german with train/transcripts.txt"),
        (["--lang", "polish"], "--lang is german, dutch, french, italian or spanish, not 'polish'"),
        (["--subset", "9h"], "--subset is full, 10h or 1h, not '9h'"),
    ],
)
def test_bad_options(tmp_path, options, message):
    done = bash(f'"{RECIPE}/run.sh" --environment false "$@"', *options, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


def check(folder, done, utterances):
    """All stages ran on that many training utterances, and the model writes German letters."""
    assert done.returncode == 0, done.stderr
    assert results(done) == [("test", "ar-greedy"), ("test", "nar-greedy")]
    assert f"train: {utterances} utterances" in done.stderr
    (lang,) = (folder / "data").glob("lang_bpe_*")
    tokenizer = Tokenizer(lang)
    assert tokenizer.normalisation == "german"
    assert tokenizer.decode(tokenizer.encode("Größe, Straße: schön!")) == "größe straße schön"


def test_limited_supervision_on_a_frozen_encoder(tmp_path):
    put_corpus(tmp_path, "opus")
    put_weights(tmp_path)
    options = ["--dl-dir", ".", "--subset", "10h", "--encoder-weights", "weights.bin", "--train-config", "small.yaml"]
    done = run(tmp_path, RECIPE, *options, "--vocab-size", "32", "--train-args", "--device cpu")
    check(tmp_path, done, 12)


def test_a_model_from_scratch_on_the_full_data(tmp_path):
    put_corpus(tmp_path)
    options = ["--dl-dir", "mls_german", "--vocab-size", "32", "--avg", "1", "--speed-perturb", "true"]
    args = "--preset tiny --device cpu --num-workers 0 --num-epochs 1 --precision float32 --max-duration 20"
    check(tmp_path, run(tmp_path, RECIPE, *options, "--train-args", args), 16)
