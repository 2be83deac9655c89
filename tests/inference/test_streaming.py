"""Streams: the same words as those of the whole recording, whatever the sizes of the blocks."""

import functools
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2 import transcribe
from hainan_k2.bench.decode import random_model
from hainan_k2.config import as_dict
from hainan_k2.formats.model_dir import write_model
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.inference.pcm import pcm_blocks
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.inference.streaming import WordStream, transcribe_stream
from hainan_k2.inference.window_sizes import StreamConfig
from hainan_k2.inference.windows import encode_audio
from hainan_k2.result import Token
from hainan_k2.search import METHODS, NO_RESOURCES, SearchConfig
from hainan_k2.search.streaming import StreamingGreedy
from hainan_k2.text.tokenizer import Tokenizer
from tests.data.corpus import babble
from tests.inference.test_windows import ragged
from tests.oracles.lm import DictionaryLm
from tests.oracles.search import DURATION_SETS, Speaker, batches, encoder_output
from tests.search.test_ar_stream import resources as decoding_resources
from tests.toy import make_lang

PIECES = ["<blk>", *(("▁" if i % 5 else "") + chr(96 + i) for i in range(1, 20))]
CONFIG = StreamConfig(hop=0.48, ahead=0.24, behind=0.8)
SPEC = FeatureSpec()


@functools.cache
def model():
    return random_model("tiny", 20)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 999),
    st.integers(0, 40),
    st.lists(st.integers(0, 40), max_size=6),
    st.sampled_from(DURATION_SETS),
    st.sampled_from(["lstm", "stateless"]),
    st.sampled_from([1, 3]),
    st.sampled_from(["ar-greedy", "nar-greedy"]),
)
def test_a_search_in_pieces_is_the_search_of_the_whole(seed, length, places, durations, predictor, max_symbols, method):
    speaker, options = Speaker(seed, durations=durations, predictor=predictor), SearchConfig(max_symbols=max_symbols)
    encoded, lens = encoder_output(seed, [length])
    whole = METHODS[method].function(speaker, encoded, lens, options)[0].tokens
    search, tokens = METHODS[method].stream(speaker, options, NO_RESOURCES), []
    for piece in torch.tensor_split(encoded[0, :length], sorted(places)):
        tokens += search.accept(piece)
    assert search.num_frames == length
    assert [(t.id, t.frame, t.duration) for t in tokens] == [(t.id, t.frame, t.duration) for t in whole]
    assert [t.confidence for t in tokens] == pytest.approx([t.confidence for t in whole])


@settings(max_examples=20, deadline=None)
@given(batches(max_frames=40, max_utterances=1), st.lists(st.integers(0, 40), max_size=4).map(sorted), st.data())
def test_a_greedy_search_in_pieces_with_hotwords(batch, places, data):
    model, encoded, lens = batch
    given = data.draw(decoding_resources(model.vocab_size))
    (whole,) = METHODS["ar-greedy"].function(model, encoded, lens, SearchConfig(), given)
    search = StreamingGreedy(model, SearchConfig(), given)
    frames = encoded[0, : int(lens[0])]
    tokens = [token for piece in torch.tensor_split(frames, places) for token in search.accept(piece)]
    assert [(t.id, t.frame, t.duration) for t in tokens] == [(t.id, t.frame, t.duration) for t in whole.tokens]


@pytest.mark.parametrize("method", ["ar-greedy", "ar-beam", "nar-greedy"])
@pytest.mark.parametrize("seed", [1, 2])
def test_ragged_pieces_give_the_words_of_the_whole(method, seed):
    options = SearchConfig(token_bonus=2.0, context_tokens=2) if method == "ar-beam" else SearchConfig()
    samples = babble(80_017, seed).astype(np.float32)
    encoded = encode_audio(model(), SPEC, [samples], CONFIG.windows())
    offline = METHODS[method].function(model(), *encoded, options)[0].with_words(PIECES, audio_seconds=5.001)
    updates = list(transcribe_stream(model(), SPEC, PIECES, ragged(samples, seed), CONFIG, options, method))
    words = [word for update in updates for word in update.words]
    assert [(w.text, w.start, w.end) for w in words] == [(w.text, w.start, w.end) for w in offline.words]
    assert len(words) > 5 and sum(bool(update.words) for update in updates) > 3
    assert [w.confidence for w in words] == pytest.approx([w.confidence for w in offline.words], abs=1e-4)
    assert any(update.partial for update in updates) and not updates[-1].partial


def test_latency_is_hop_plus_ahead():
    given = 0

    def blocks():
        nonlocal given
        for block in np.split(babble(64_000, seed=3).astype(np.float32), 400):
            given += len(block)
            yield block

    for update in transcribe_stream(model(), SPEC, PIECES, blocks(), CONFIG, SearchConfig()):
        assert given / 16000 - update.seconds <= CONFIG.hop + CONFIG.ahead + 0.01  # of a block


def test_a_word_is_final_when_the_next_one_begins():
    def tokens(text, frame):
        return [Token(PIECES.index(piece), frame + i, 1, 1.0) for i, piece in enumerate(text.split())]

    def final(text, frame):
        return " ".join(word.text for word in words.accept(tokens(text, frame), 50))

    words = WordStream(PIECES)
    assert final("▁a", 0) == ""
    assert final("e", 3) == ""
    assert final("▁b e ▁d", 5) == "ae be"
    assert final("", 9) == ""
    assert [(w.text, w.start) for w in words.rest(tokens("e", 9), 50)] == [("de", 0.56)]
    assert len(words.pending) == 1


class Dribble(io.BytesIO):
    """A pipe that gives a few bytes at a time."""

    def read1(self, size=-1):
        return self.read(min(size, 7))


def test_pcm_in_pieces_of_half_samples():
    samples = np.array([0, 1, -1, 32767, -32768, 5, 300, -300, 9], dtype="<i2")
    samples_read = np.concatenate(list(pcm_blocks(Dribble(samples.tobytes()))))
    assert samples_read.dtype == np.float32 and np.array_equal(samples_read * 32768, samples)
    with pytest.raises(ValueError, match="ends within a sample"):
        list(pcm_blocks(Dribble(samples.tobytes() + b"x")))


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "AIFF", "W64", "RF64", "AU", "CAF", "NIST", "VOC"])
def test_files_of_other_formats_are_no_pcm(format):
    content = io.BytesIO()
    soundfile.write(content, babble(16000, seed=1), 16000, format=format)
    content = content.getvalue()
    for stream in (io.BytesIO(content), Dribble(content)):
        with pytest.raises(ValueError, match="standard input is a .* file: a stream is bare 16-bit PCM"):
            list(pcm_blocks(stream))


@pytest.mark.parametrize("begin", [b"ID3\x04\x00\x00", b"\x00\x00\x00\x20ftypM4A ", b"\x1aE\xdf\xa3\x9f"])
def test_files_that_libsndfile_does_not_write_are_no_pcm(begin):
    with pytest.raises(ValueError, match="standard input is a .* file"):
        list(pcm_blocks(io.BytesIO(begin + bytes(4000))))


@pytest.mark.parametrize("size", [0, 2, 6, 12, 14, 3200, 3214])
def test_pcm_of_any_length(size):
    content = bytes(range(size % 256)) * (size // max(1, size % 256)) or bytes(size)
    content = content.ljust(size, b"\0")[:size]
    for stream in (io.BytesIO(content), Dribble(content)):
        assert b"".join((b * 32768).astype("<i2").tobytes() for b in pcm_blocks(stream)) == content


@pytest.mark.parametrize("samples", [400, 8000, 48_001, 48_009, 50_000, 99_999])
def test_seconds_never_run_backwards(samples):
    audio = babble(samples, seed=1).astype(np.float32)
    seconds = [u.seconds for u in transcribe_stream(model(), SPEC, PIECES, [audio], CONFIG, SearchConfig())]
    assert seconds == sorted(seconds) and seconds[-1] == round(samples / 16000, 3)


def test_what_is_refused():
    with pytest.raises(ValueError, match="method sar needs the whole recording"):
        list(transcribe_stream(model(), SPEC, PIECES, [], CONFIG, SearchConfig(), "sar"))
    with pytest.raises(ValueError, match="at least 400 samples"):
        list(transcribe_stream(model(), SPEC, PIECES, [np.zeros(100, np.float32)], CONFIG, SearchConfig()))
    (silent,) = transcribe_stream(model(), SPEC, PIECES, [], CONFIG, SearchConfig())
    assert silent.seconds == 0 and not silent.words


def test_the_command_with_a_language_model_and_hotwords(tmp_path, monkeypatch, capsys):
    tokenizer = Tokenizer(make_lang(tmp_path))
    write_model(tmp_path / "model", random_model("tiny", tokenizer.vocab_size), tokenizer, "float32", {})
    unigrams = {("<s>",): (-99.0, 0.0), ("</s>",): (-0.5, 0.0)}
    unigrams.update({(piece,): (-0.05 * (n % 9) - 0.3, 0.0) for n, piece in enumerate(tokenizer.pieces[1:])})
    files = {"lm": str(DictionaryLm(unigrams).write(tmp_path / "lm.arpa")), "hotwords": str(tmp_path / "hotwords.txt")}
    (tmp_path / "hotwords.txt").write_text("alfa bravo :3\necho\n")
    content = (32767 * babble(64_000, 2)).astype("<i2")

    recognizer = Recognizer.load(tmp_path / "model", "cpu")
    resources, samples = recognizer.resources(**files), content.astype(np.float32) / 32768
    encoded = encode_audio(recognizer.model, recognizer.spec, [samples], CONFIG.windows())
    found = METHODS["ar-beam"].function(recognizer.model, *encoded, SearchConfig(lm_scale=0.4), resources)
    expected = [w.text for w in found[0].with_words(tokenizer.pieces).words]
    plain = METHODS["ar-beam"].function(recognizer.model, *encoded, SearchConfig())[0]
    assert expected and expected != [w.text for w in plain.with_words(tokenizer.pieces).words]

    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content.tobytes())))
    given = {**files, **as_dict(CONFIG), "lm_scale": 0.4}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    transcribe.main(["--model", str(tmp_path / "model"), "--device=cpu", "--stream=true", "--method=ar-beam", *options])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [word["text"] for line in lines for word in line["words"]] == expected
    updates = recognizer.transcribe_stream([samples], "ar-beam", SearchConfig(lm_scale=0.4), resources, CONFIG)
    assert [word.text for update in updates for word in update.words] == expected


def test_the_command(tmp_path, monkeypatch, capsys):
    tokenizer = Tokenizer(make_lang(tmp_path))
    write_model(tmp_path / "model", random_model("tiny", tokenizer.vocab_size), tokenizer, "float32", {})
    pcm = (32767 * babble(48_000, 2)).astype("<i2").tobytes()
    command = ["--model", str(tmp_path / "model"), "--device", "cpu", "--stream", "true", "--hop", "0.48"]

    def lines(content, *options):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        transcribe.main([*command, *options])
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    grammar = tmp_path / "fox.grammar"
    grammar.write_text("sentence: fox | echo\n")
    updates = lines(pcm)
    assert [round(line["seconds"] / 0.48) for line in updates[:4]] == [1, 2, 3, 4] and updates[-1]["seconds"] == 3.0
    assert lines(b"")[0]["words"] == []
    for arguments, message in (
        ((b"abc",), "ends within a sample"),
        ((pcm, "--method", "sar"), "needs the whole recording"),
        ((pcm, "--hotwords", "x.txt"), "x.txt"),
        ((pcm, "--method", "ar-beam", "--grammar", str(grammar)), "a grammar or graph needs the whole recording"),
        ((pcm, "--method", "ar-beam", "--guide", "nar"), "guide nar needs the whole recording"),
        ((pcm, "a.wav"), "takes samples from standard input"),
        ((b"fLaC" + pcm,), "standard input is a FLAC file"),
        ((pcm, "--method", "ar-greedy,nar-greedy"), "takes one --method"),
        ((pcm, "--method", "all"), "method all needs the whole recording"),
        ((pcm, "--max-symbols", "1,2"), "takes one value of every option"),
        ((pcm, "--ahead", "0"), "at least 1 encoder frame"),
    ):
        with pytest.raises(SystemExit) as stopped:
            lines(*arguments)
        assert stopped.value.code == 2 and message in capsys.readouterr().err
