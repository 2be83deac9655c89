"""End points: a silence ends the utterance, and the search begins anew."""

import json
import os
import pty
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.frontend.audio import read_audio
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.inference.streaming import Utterances
from hainan_k2.inference.window_sizes import StreamConfig
from hainan_k2.inference.windows import encode_audio
from hainan_k2.result import Hypothesis
from hainan_k2.search import METHODS, NO_RESOURCES, SearchConfig
from tests.inference.test_live import Terminal
from tests.oracles.search import DURATION_SETS, Speaker, encoder_output
from tests.toy import ROOT

PIECES = ["<blk>", *(("▁" if i % 3 else "") + chr(96 + i) for i in range(1, 20))]
STREAMING = ["ar-greedy", "nar-greedy", "ar-beam"]


def words_of(tokens, num_frames, first):
    """(text, start, end) of the words of an utterance that begins at the frame `first` of a stream."""
    words = Hypothesis(tuple(tokens), 0.0, num_frames).with_words(PIECES).words
    return [(w.text, pytest.approx(w.start + 0.08 * first), pytest.approx(w.end + 0.08 * first)) for w in words]


def expected_utterances(search, frames, ends, ahead, silence):
    """(end, words) of every utterance with words, by searching anew, at each of `ends`, all frames known by then."""
    first, before, utterances = 0, 0, []
    for end in ends:
        known = min(end + ahead, len(frames))
        while True:
            tokens = search(frames[first:known])
            spans = Hypothesis(tuple(tokens), 0.0, known - first).spans()
            starts = [start for start, _ in spans[1:]] + [known - first]
            silent = [b for (_, b), start in zip(spans, starts) if start - b >= silence and first + b <= end]
            if not tokens and end - first >= silence:
                first = end
            if not silent:
                break
            point = max(before, min(first + silent[0] + silence, end))
            utterances.append((point, words_of([t for t in tokens if t.frame < point - first], point - first, first)))
            first = before = point
        before = end
    return [*utterances, (len(frames), words_of(search(frames[first:]), len(frames) - first, first))]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 999),
    st.integers(0, 80),
    st.integers(1, 30),
    st.integers(0, 8),
    st.integers(1, 5),
    st.sampled_from(DURATION_SETS),
    st.sampled_from(STREAMING),
    st.floats(1, 4),
)
def test_utterances_are_those_of_searches_of_the_whole(seed, length, hop, ahead, silence, durations, method, blank):
    model = Speaker(seed, durations=durations, blank_bias=blank)
    options = SearchConfig(beam=2, context_tokens=1)
    frames = encoder_output(seed, [max(1, length)])[0][0, :length]

    def search(frames):
        lens = torch.tensor([len(frames)])
        return METHODS[method].function(model, frames[None], lens, options)[0].tokens if len(frames) else ()

    found, words = [], []
    utterances = Utterances(partial(METHODS[method].stream, model, options, NO_RESOURCES), PIECES, silence)
    ends = [*range(hop, length, hop), length]
    for begin, end in zip([0, *ends], ends):
        for frame, final, _, endpoint in utterances.accept(frames[begin:end], frames[end : end + ahead]):
            words += [(w.text, w.start, w.end) for w in final]
            if endpoint:
                found, words = [*found, (frame, words)], []
    words += [(w.text, w.start, w.end) for w in utterances.finish(float("inf"))]
    assert [*found, (length, words)] == expected_utterances(search, frames, ends, ahead, silence)


def test_end_points_bound_the_memory_of_the_beam():
    model, options = Speaker(7, 6, (0, 1, 2, 4, 8), blank_bias=2.0), SearchConfig()
    frames, sizes, words = encoder_output(7, [600])[0][0], {}, {}
    for silence in (0, 6):
        utterances = Utterances(partial(METHODS["ar-beam"].stream, model, options, NO_RESOURCES), PIECES, silence)
        sizes[silence], words[silence] = 0, 0
        for piece in frames.split(10):
            words[silence] += sum(len(final) for _, final, *_ in utterances.accept(piece, piece[:0]))
            sizes[silence] = max(sizes[silence], utterances.search.trail_size)
    assert sizes[6] < 0.7 * sizes[0] and words[6] > 4 * words[0]


PAUSES = (3.3, 5.4, 8.1)  # seconds in tests/data/jfk.flac at which there is none between words
SENTENCES = (
    "and so my fellow americans",
    "ask not",
    "what your country can do for you",
    "ask what you can do for your country",
)


def with_pauses():
    """jfk.flac with 2 s of silence at PAUSES and at the end, 16 kHz."""
    parts = np.split(read_audio(ROOT / "tests" / "data" / "jfk.flac"), [round(16000 * second) for second in PAUSES])
    return np.concatenate([piece for part in parts for piece in (part, np.zeros(32_000, np.float32))])


def utterances_of(updates):
    """[(seconds, words)] of every utterance that ended, and the last one's words."""
    found, words = [], []
    for seconds, of_update, endpoint in updates:
        words = [*words, *of_update]
        if endpoint:
            found, words = [*found, (seconds, words)], []
    return found, words


@pytest.fixture(scope="module")
def released():
    return Recognizer.load("released", device="cpu")


@pytest.mark.parametrize("method", STREAMING)
def test_the_sentences_of_a_recording_with_pauses(released, method):
    samples, config, options = with_pauses(), StreamConfig(endpoint_silence=1.2), SearchConfig()
    resources = released.resources(lm="none")
    updates = list(released.transcribe_stream(np.array_split(samples, 99), method, options, resources, config))
    seconds = [update.seconds for update in updates]
    assert seconds == sorted(seconds) and seconds[-1] == len(samples) / 16000
    found, rest = utterances_of((u.seconds, u.words, u.endpoint) for u in updates)
    assert len(found) == len(PAUSES) + 1 and not rest
    assert all(0 <= end - words[-1].end <= 1.2 for end, words in found)
    encoded, lens = encode_audio(released.model, released.spec, [samples], config.windows())
    begin = 0.0
    for end, expected in found:
        first, last = round(begin / 0.08), round(end / 0.08)
        frames = encoded[:, first:last]
        (whole,) = METHODS[method].function(released.model, frames, torch.tensor([last - first]), options)
        whole = whole.with_words(released.tokenizer.pieces)
        assert [word.text for word in expected] == [word.text for word in whole.words]
        assert [word.start for word in expected] == pytest.approx([word.start + begin for word in whole.words])
        begin = end
    texts = [" ".join(word.text for word in words) for _, words in found]
    assert texts[0].startswith("and so") and texts[1].endswith(" not")
    assert texts[2].endswith("can do for you") and " what you can do for your " in texts[3]
    for (_, words), sentence in zip(found, SENTENCES):  # at least half of its words are in the right utterance
        said = set(sentence.split())
        assert 2 * len(said & {word.text for word in words}) >= len(said), (words, sentence)


def test_without_end_points_the_stream_is_one_utterance(released):
    samples, config = with_pauses()[:160_000], StreamConfig()
    updates = list(released.transcribe_stream([samples], config=config))
    assert not any(update.endpoint for update in updates)


def test_the_command_of_a_microphone(tmp_path):
    """A file takes the place of `arecord -q -t raw -f S16_LE -r 16000 -c 1`."""
    pcm = tmp_path / "speech.raw"
    pcm.write_bytes((with_pauses() * 32767).astype("<i2").tobytes())
    command = f"cat {pcm} | {sys.executable} hainan_k2/transcribe.py --stream true"
    done = subprocess.run(
        command + " --endpoint-silence 1.2", shell=True, cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found, rest = utterances_of((line["seconds"], line["words"], line["endpoint"]) for line in lines)
    assert [words[-1]["text"] for _, words in found][1:] == ["not", "you", "country"] and not rest
    refused = subprocess.run(command + " --endpoint-silence 0.1", shell=True, cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2 and not refused.stdout
    assert "endpoint_silence 0.1: pauses within a sentence are as short" in refused.stderr


def test_the_command_on_a_terminal(tmp_path):
    (tmp_path / "speech.raw").write_bytes((with_pauses()[:100_000] * 32767).astype("<i2").tobytes())
    terminal, (reader, writer) = Terminal(20), pty.openpty()
    command = [sys.executable, "hainan_k2/transcribe.py", "--stream", "true", "--endpoint-silence", "1.2"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "20", "LINES": "24"}
    with (tmp_path / "speech.raw").open("rb") as pcm, open(writer, "wb") as out:
        subprocess.run(command, stdin=pcm, stdout=out, cwd=ROOT, env=environment, check=True)
        terminal.write(os.read(reader, 65536).decode())
    os.close(reader)
    first, *others = terminal.lines()
    assert first.startswith("and so my") and len(others) == 3 and others[1].endswith(" not") and others[2] == ""
    assert not terminal.dim


@pytest.mark.parametrize(
    "silence, message",
    [
        (-1.0, "endpoint_silence is -1.0: it must be at least 0 and at most 600"),
        (601.0, "endpoint_silence is 601.0: it must be at least 0"),
        (float("nan"), "it must be a finite number"),
        (0.39, "give at least 0.4 s, or 0 for no end points"),
    ],
)
def test_silences_that_are_refused(silence, message):
    with pytest.raises(ValueError, match=message) as refused:
        StreamConfig(endpoint_silence=silence)
    assert "\n" not in str(refused.value)
