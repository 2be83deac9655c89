"""Live audio over a WebSocket: the words of the streaming recognizer, limits, clients that break the rules."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np
import pytest

pytest.importorskip("starlette")

from hainan_k2.server import live
from hainan_k2.server.limits import MESSAGE_BYTES
from tests.data.corpus import babble
from tests.server.conftest import load, pcm
from tests.server.running import serving, wav

END = json.dumps({"type": "end"})


@pytest.fixture(scope="module")
def client(service):
    with serving(service, max_seconds=4, max_streams=8) as client:
        yield client


def expected(service, content, config=None):
    """The updates of the recognizer for the bytes of a stream, as events."""
    blocks = [np.frombuffer(content, "<i2").astype(np.float32) / 32768]
    updates = service.recognizer.transcribe_stream(blocks, **({"config": config} if config else {}))
    return [{"type": "update", **json.loads(json.dumps(asdict(update)))} for update in updates]


@pytest.mark.parametrize("size", [777, 9600, 48000])
def test_the_words_are_those_of_the_recognizer(client, service, sound, size):
    content = pcm(sound)
    events, code = client.events(*(content[i : i + size] for i in range(0, len(content), size)), END)
    assert events[0] == {"type": "ready", "sampling_rate": 16000, "max_seconds": 4.0}
    assert events[1:-1] == expected(service, content) and code == 1000
    assert events[-1] == {"type": "end", "limit": False}
    assert sum(len(event["words"]) for event in events[1:-1]) > 1


def test_words_are_sent_while_sound_arrives(client, sound):
    with client.stream() as socket:
        assert json.loads(socket.recv())["type"] == "ready"
        socket.send(pcm(np.concatenate([sound, sound])))
        assert json.loads(socket.recv())["type"] == "update"  # before the end of the stream is known
        socket.send(END)
        rest = [json.loads(event) for event in socket]
    assert rest[-1]["type"] == "end"


def test_a_silence_ends_an_utterance(model, sound):
    service = load(model, endpoint_silence=0.4)
    content = pcm(np.concatenate([sound, np.zeros(32000), sound]))
    with serving(service) as client:
        events, _ = client.events(content, END)
    assert events[1:-1] == expected(service, content, service.streams)
    assert any(event["endpoint"] for event in events[1:-1])


def test_streams_at_once_do_not_mix(client, service):
    contents = [pcm(babble(20000 + 500 * seed, seed)) for seed in range(8)]
    with ThreadPoolExecutor(len(contents)) as clients:
        results = list(clients.map(lambda content: client.events(content, END)[0][1:-1], contents))
    assert results == [expected(service, content) for content in contents]


def test_the_longest_stream_ends_at_its_limit(client, service):
    content = pcm(babble(5 * 16000, seed=5))
    events, code = client.events(content[: 3 * 32000], content[3 * 32000 :])
    assert events[-1] == {"type": "end", "limit": True} and code == 1000
    assert events[1:-1] == expected(service, content[: 4 * 32000])


@pytest.mark.parametrize(
    "messages, code, wrong",
    [
        ([b"\0\0\0", END], 1007, "the stream ends within a sample"),
        ([b"\0\0" * 8, END], 1007, "25 ms"),
        ([wav(np.zeros(4000)), END], 1007, "the stream is a WAV file"),
        (["{}"], 1007, "a text is"),
        (["[["], 1007, "a text is"),
        ([b"\0" * (MESSAGE_BYTES + 2)], 1009, None),
    ],
)
def test_what_is_no_stream_is_refused(client, messages, code, wrong):
    events, closed = client.events(*messages)
    assert closed == code
    assert wrong is None or events[-1]["type"] == "error" and wrong in events[-1]["message"]


def test_a_stream_too_many_is_refused_and_a_place_is_free_again(service, sound):
    with serving(service, max_streams=1) as client:
        with client.stream() as first:
            assert json.loads(first.recv())["type"] == "ready"
            events, code = client.events()
            assert code == 1013 and [event["type"] for event in events] == ["error"]
        client.wait(lambda health: health["streams"] == 0)  # the first client left without an end
        events, code = client.events(pcm(sound), END)
        assert code == 1000 and events[-1]["type"] == "end"


def test_a_silent_client_is_closed(service, monkeypatch):
    monkeypatch.setattr(live, "PATIENCE", 0.05)
    with serving(service) as client:
        events, code = client.events()
    assert code == 1007 and "no message for 0.05 s" in events[-1]["message"]


def test_a_mistake_in_the_program_is_told_and_logged(service, sound, monkeypatch, caplog):
    def broken(pcm):
        raise KeyError("oops")
        yield

    monkeypatch.setattr(service, "stream", broken, raising=True)
    with serving(service) as client:
        events, code = client.events(pcm(sound), END)
    assert code == 1011 and events[-1]["type"] == "error" and "a stream failed" in caplog.text


def test_a_fast_client_is_slowed_down(service, monkeypatch):
    """Of a stream whose search stands still, WAITING messages are held, and the rest stays with the client."""
    go, calls = threading.Event(), []
    put = live.Received.put

    async def counted(self, message):
        await put(self, message)
        calls.append(len(message))

    def waiting(pcm):
        go.wait()
        while pcm.read1(1 << 20):
            pass
        return iter(())

    monkeypatch.setattr(live.Received, "put", counted)
    monkeypatch.setattr(service, "stream", waiting)
    with serving(service) as client, client.stream() as socket:
        socket.recv()
        for _ in range(live.WAITING + 3):
            socket.send(bytes(3200))
        client.wait(lambda health: len(calls) == live.WAITING)
        assert client.health()["streams"] == 1 and len(calls) == live.WAITING
        go.set()
        socket.send(END)
        assert [json.loads(event)["type"] for event in socket] == ["end"]
    assert len(calls) == live.WAITING + 3
