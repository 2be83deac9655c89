"""Files that strangers send: whatever bytes they hold, a reader gives what it promises or a ValueError that names the
file, in bounded memory and time. And recordings that are odd but sound, each with what it gives."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from hainan_k2.bench.decode import random_model
from hainan_k2.config import ModelConfig
from hainan_k2.formats.model_dir import write_model
from hainan_k2.frontend.audio import audio_blocks, decode_audio, read_audio
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.model.hainan import Hainan
from hainan_k2.text.tokenizer import Tokenizer
from tests.data.corpus import babble
from tests.frontend.containers import KINDS, UNTOLD, write
from tests.fuzz_containers import fuzz_containers
from tests.toy import ROOT, make_lang


def fuzz(tmp_path, reader, count, *seeds):
    """{name: how many were refused} of `count` mutations of the seeds; the others were read. tests/fuzz_readers.py runs
    in a process of its own, so that a crash or a lack of memory shows."""
    folder = tmp_path / "mutated"
    folder.mkdir()
    for seed in seeds:  # with all that a reader looks for beside the file
        shutil.copytree(seed.parent, folder, dirs_exist_ok=True, ignore=lambda _, names: {"mutated"})
    result = subprocess.run(
        [sys.executable, "-m", "tests.fuzz_readers", reader, folder, str(count), *seeds],
        cwd=ROOT,
        text=True,
        capture_output=True,
    )
    assert result.returncode == 0, f"{result.returncode}: {result.stdout}{result.stderr[-2000:]}"
    return json.loads(result.stdout)


def test_2000_mutated_recordings(tmp_path):
    seeds = []
    for name, subtype in (("a.wav", "PCM_16"), ("b.flac", "PCM_16"), ("c.wav", "FLOAT"), ("d.flac", "PCM_24")):
        (tmp_path / name[0]).mkdir()
        seeds.append(tmp_path / name[0] / name)
        soundfile.write(seeds[-1], np.stack([babble(600, seed=2)] * 2, axis=1), 22050, subtype=subtype)
    refused = fuzz(tmp_path, "audio", 2000, *seeds)
    assert all(100 < count < 500 for count in refused.values())


def test_every_container_mutated_and_cut_off(tmp_path):
    """A quick part of `python -m tests.fuzz_containers`: two of each file."""
    rows = fuzz_containers(tmp_path, 4 * len(KINDS))
    assert len(rows) > 20
    for name, (tried, refused, cut, cut_refused, in_part) in rows.items():
        assert tried == cut >= max(refused, cut_refused + in_part) > 0, name
        assert name.startswith((*UNTOLD, "open")) or cut_refused == cut, name
    assert sum(refused for _, refused, *_ in rows.values()) > len(KINDS)


def test_mutated_cut_manifests(tmp_path):
    cuts = [
        MonoCut(
            f"u{i}",
            0.0,
            1.0,
            0,
            [SupervisionSegment(f"u{i}", "r", 0.0, 1.0, text="a b")],
            recording=Recording("r", [], 16000, 16000, 1.0, [0]),
        )
        for i in range(3)
    ]
    for name in ("cuts.jsonl", "cuts.jsonl.gz"):
        CutSet.from_cuts(cuts).to_file(tmp_path / name)
    refused = fuzz(tmp_path, "cuts", 400, tmp_path / "cuts.jsonl", tmp_path / "cuts.jsonl.gz")
    assert 200 < sum(refused.values()) < 400


def test_mutated_tokenizers(tmp_path):
    assert 50 < fuzz(tmp_path, "tokens", 300, make_lang(tmp_path) / "bpe.model")["bpe.model"] <= 300


def test_mutated_transcripts_lose_lines_not_the_rest(tmp_path):
    chapter = tmp_path / "split"
    chapter.mkdir()
    for i in range(3):
        soundfile.write(chapter / f"1-2-{i}.flac", babble(600, seed=i), 16000)
    (chapter / "1-2.trans.txt").write_text("1-2-0 ALFA\n1-2-1 BRAVO COCOA\n1-2-2 DELTA\n")
    assert fuzz(tmp_path, "transcript", 300, chapter / "1-2.trans.txt") == {"1-2.trans.txt": 0}


def test_mutated_model_directories(tmp_path):
    """Hashes agree with what was changed. tokens.txt is for people: nothing but its hash is read."""
    torch.manual_seed(0)
    tokenizer = Tokenizer(make_lang(tmp_path))
    small = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        d_model=8,
        num_heads=2,
        num_layers=1,
        subsampling_channels=2,
        predictor_dim=4,
        joiner_dim=4,
    )
    write_model(tmp_path / "model", Hainan(small), tokenizer, "int8", {"commit": "abc", "wer": 1.5})
    refused = fuzz(tmp_path, "model", 750, *sorted((tmp_path / "model").iterdir()))
    assert refused.pop("tokens.txt") == 0 and len(refused) == 4
    assert all(30 < count <= 150 for count in refused.values()), refused


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    tokenizer = Tokenizer(make_lang(tmp_path_factory.mktemp("robust")))
    return Recognizer(random_model("tiny", tokenizer.vocab_size), tokenizer)


SECOND = np.arange(16000) / 16000
SPEECH = babble(16000, seed=4)


ODD = {
    "all-zero": np.zeros(16000),
    "silence": 1e-4 * SPEECH,
    "denormal": np.full(16000, 1e-30),
    "dc": np.full(16000, 0.5),
    "full-scale-dc": np.full(16000, -1.0),
    "speech-on-dc": SPEECH + 0.9,
    "clipping": np.clip(1000 * SPEECH, -1, 1),
    "square": np.sign(np.sin(9e3 * SECOND)),
    "25 ms": np.zeros(400),
    "click": np.eye(1, 16000)[0],
}


@pytest.mark.parametrize("samples", ODD.values(), ids=ODD)
@pytest.mark.parametrize("method", ["ar-greedy", "nar-greedy", "sar"])
def test_odd_but_sound_recordings_give_a_finite_result(recognizer, samples, method):
    (hypothesis,) = recognizer.transcribe([samples.astype(np.float32)], method)
    assert hypothesis.num_frames == -(-len(samples) // 1280)
    assert np.isfinite(hypothesis.score)
    assert all(0 <= w.start <= w.end <= len(samples) / 16000 and 0 <= w.confidence <= 1 for w in hypothesis.words)


@pytest.mark.parametrize("count, milliseconds", [(160, "10.0"), (399, "24.9")])
def test_under_25_ms_are_too_short_and_reported_so(recognizer, tmp_path, count, milliseconds):
    soundfile.write(tmp_path / "clip.wav", SPEECH[:count], 16000)
    (result,) = recognizer.stream([tmp_path / "clip.wav"])
    assert (
        result.hypothesis is None
        and result.failure
        == f"{tmp_path / 'clip.wav'}: {milliseconds} ms of audio "
        f"({count} samples at 16000 Hz): at least 25 ms (400) are needed"
    )


def test_samples_that_are_no_numbers_fail_alone(recognizer, tmp_path):
    for name, bad in (("nan.wav", np.nan), ("inf.wav", np.inf), ("sound.wav", 0.0)):
        soundfile.write(tmp_path / name, np.append(SPEECH, bad), 16000, subtype="FLOAT")
    paths = [tmp_path / name for name in ("nan.wav", "sound.wav", "inf.wav")]
    first, second, third = recognizer.stream(paths)
    assert "nan.wav: 1 of 16001 samples are not finite" in first.failure
    assert "inf.wav: 1 of 16001 samples are not finite" in third.failure
    assert second.hypothesis is not None and not second.failure


def test_half_a_recording_fails_alone(recognizer, tmp_path):
    whole, _ = write(tmp_path, "AIFF", "PCM_16")
    (tmp_path / "half.aiff").write_bytes(whole.read_bytes()[:32054])
    half, other = recognizer.stream([tmp_path / "half.aiff", whole])
    assert half.failure.startswith(f"{tmp_path / 'half.aiff'}: truncated: 1.00 of 2.00 s, 32000 of 64000 bytes")
    assert half.hypothesis is None and other.hypothesis is not None and other.seconds == 2.0


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 8])
def test_rates_and_channels(recognizer, tmp_path, rate, channels):
    time = np.arange(rate) / rate
    sound = 0.3 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([sound] * channels, axis=1), rate)
    assert len(read_audio(tmp_path / "a.wav")) == 16000
    (hypothesis,) = recognizer.transcribe([tmp_path / "a.wav"])
    assert hypothesis.num_frames == 13


def eight_hours(path, name):
    """The header of a recording of eight hours at 16 kHz, and a tenth of a second."""
    soundfile.write(path / name, babble(1600, seed=1), 16000)
    content = bytearray((path / name).read_bytes())
    count = 8 * 3600 * 16000
    if name.endswith("wav"):
        content[4:8], content[40:44] = (2 * count + 36).to_bytes(4, "little"), (2 * count).to_bytes(4, "little")
    else:
        content[21:26] = (int.from_bytes(content[21:26], "big") >> 36 << 36 | count).to_bytes(5, "big")
    (path / name).write_bytes(content)
    return path / name


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_header_of_eight_hours_without_the_samples(tmp_path, name):
    path = eight_hours(tmp_path, name)
    with pytest.raises(ValueError, match=f"{path}: truncated"):
        read_audio(path)
    with pytest.raises(ValueError, match=f"{path}: truncated"):
        list(audio_blocks(path))


@pytest.mark.parametrize("rate", [1, 3999, 384001, 767999, 2**31 - 1])
def test_a_header_of_an_impossible_rate(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", SPEECH[:100], 16000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ValueError, match=f"a.wav: its sampling rate of {rate} Hz is not one of"):
        decode_audio(tmp_path / "a.wav")


def test_raw_samples_are_refused(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(100))
    with pytest.raises(ValueError, match="a.raw: raw samples: nothing says their rate"):
        decode_audio(tmp_path / "a.raw")


def test_long_audio_in_a_batch_is_what_it_is_alone(recognizer):
    audio = [babble(int(16000 * seconds), seed=3).astype(np.float32) for seconds in (1.0, 21.7, 2.3)]
    together = recognizer.transcribe(audio)
    for samples, hypothesis in zip(audio, together):
        (alone,) = recognizer.transcribe([samples])
        assert alone.ids == hypothesis.ids and alone.num_frames == hypothesis.num_frames
    assert together[1].num_frames == 272 and torch.isfinite(torch.tensor(together[1].score))
