"""Recordings longer than a window: read in blocks, bounded in memory, and the words of the whole."""

import tracemalloc

import numpy as np
import pytest
import soundfile
import torch
from kaldialign import edit_distance

from hainan_k2.bench.decode import random_model
from hainan_k2.frontend import audio
from hainan_k2.frontend.audio import decode_audio, read_audio, resample
from hainan_k2.inference import recognizer as module
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.inference.window_sizes import WindowConfig
from hainan_k2.inference.windows import encode_audio
from hainan_k2.text.tokenizer import Tokenizer
from tests.data.corpus import babble
from tests.toy import ROOT, make_lang

WINDOWS = WindowConfig(window=4.0, context=1.0)


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    tokenizer = Tokenizer(make_lang(tmp_path_factory.mktemp("talker")))
    return Recognizer(random_model("tiny", tokenizer.vocab_size, seed=1), tokenizer, windows=WINDOWS)


@pytest.fixture(scope="module")
def released():
    return Recognizer.load("released", device="cpu")


@pytest.mark.parametrize("rate, channels", [(16000, 1), (11025, 1), (44100, 2)])
def test_a_file_in_blocks_is_the_file_as_a_whole(recognizer, tmp_path, monkeypatch, rate, channels):
    path = tmp_path / "long.wav"
    samples = np.stack([babble(round(13.37 * rate), seed) for seed in range(channels)], axis=1)
    soundfile.write(path, samples, rate, subtype="FLOAT")
    monkeypatch.setattr(audio, "BLOCK", 30_011)  # the seams of blocks lie anywhere in the windows
    encoded = []

    def encode(*arguments):
        encoded.append(encode_audio(*arguments)[0])
        return encoded[-1], torch.tensor([encoded[-1].shape[1]])

    monkeypatch.setattr(module, "encode_audio", encode)
    (result,) = recognizer.stream([path])
    whole = read_audio(path)
    expected = encode_audio(recognizer.model, recognizer.spec, [whole], WINDOWS.windows())[0]
    assert torch.equal(encoded[0], expected)  # blocks change where samples are read, not the windows that are encoded
    assert result.seconds == len(whole) / 16000 and len(result.hypothesis.tokens) > 20
    joined = decode_audio(path)[0]
    np.testing.assert_allclose(whole, resample(joined.mean(axis=1), rate, 16000), atol=1e-5)
    (array,) = recognizer.stream([joined], sampling_rate=rate)
    torch.testing.assert_close(encoded[1], encoded[0], atol=1e-4, rtol=1e-4)
    assert array.hypothesis.text == result.hypothesis.text and array.seconds == result.seconds


class Zeros(torch.nn.Module):
    """A fast encoder whose output is zero."""

    def forward(self, features, lens):
        return torch.zeros(len(features), (features.shape[1] + 7) // 8, 64), (lens + 7) // 8


@pytest.mark.parametrize("rate", [16000, 8000])
def test_never_all_samples_are_in_memory(tmp_path, monkeypatch, rate):
    tokenizer = Tokenizer(make_lang(tmp_path))
    model = random_model("tiny", tokenizer.vocab_size, seed=1)
    model.encoder = Zeros()
    recognizer = Recognizer(model, tokenizer, windows=WINDOWS)
    monkeypatch.setattr(audio, "BLOCK", 1 << 17)
    soundfile.write(tmp_path / "long.wav", np.zeros(480 * rate, np.int16), rate)
    tracemalloc.start()  # sees the arrays of numpy, not those of torch
    (result,) = recognizer.stream([tmp_path / "long.wav"], "nar-greedy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.seconds == 480
    assert peak < 480 * 16000 * 4 / 2, f"{peak / 2**20:.1f} MB, all samples being 29.3"


def test_damage_behind_the_first_window_costs_no_other(recognizer, tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "BLOCK", 30_000)
    for name, damaged in (("a.wav", False), ("b.wav", True)):
        samples = babble(16000 * 7, seed=3).astype(np.float32)
        samples[16000 * 5] = np.nan if damaged else 0.0
        soundfile.write(tmp_path / name, samples, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "c.wav", samples[:16000], 16000)
    good, bad, short = recognizer.stream([tmp_path / "a.wav", tmp_path / "b.wav", tmp_path / "c.wav"])
    assert good.hypothesis.words and short.hypothesis.words and good.seconds == 7.0 and short.seconds == 1.0
    assert bad.failure == f"{tmp_path / 'b.wav'}: 1 of 30000 samples are not finite, or beyond 2^31"
    assert bad.hypothesis is None and bad.seconds == 0.0


SEAMS = 0.05  # the character error rate of a long recording may be this much higher than that of its parts
TEXT = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"


@pytest.mark.parametrize("method", ["ar-greedy", "nar-greedy", "viterbi"])
def test_a_long_recording_is_recognised_as_well_as_its_parts(released, method):
    part = read_audio(ROOT / "tests" / "data" / "jfk.flac")  # 11 s, so the seams at 16 and 28 s are inside of words
    (alone,) = released.transcribe([part], method)
    (result,) = released.transcribe([np.concatenate([part] * 3)], method)
    expected = list(" ".join([TEXT] * 3))

    def errors(text):
        return edit_distance(expected, list(text))["total"] / len(expected)

    limit = errors(" ".join([alone.text] * 3)) + SEAMS
    assert errors(result.text) <= limit, result.text
    lost = [word.text for word in result.words if not any(seam <= word.start < seam + 4 for seam in (16, 28))]
    assert errors(" ".join(lost)) > limit, "context would not be missed"
