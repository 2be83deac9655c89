"""POST /v1/audio/transcriptions: the words in every format, refusals, many clients, nothing left behind."""

import json
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np
import pytest

pytest.importorskip("starlette")

from hainan_k2.frontend.audio import read_audio
from hainan_k2.result import Word
from hainan_k2.server import transcriptions, uploads
from hainan_k2.writers import WRITERS
from tests.data.corpus import babble
from tests.report.pages import data_in
from tests.server.conftest import load
from tests.server.running import error_of, serving, wav

PATH = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def client(service):
    with serving(service, max_upload=0.5, max_seconds=4) as client:
        yield client


@pytest.fixture(scope="module")
def hypothesis(service, sound):
    return service.recognizer.transcribe([sound])[0]


@pytest.mark.parametrize(
    "kind, content_type",
    [("text", "text/plain"), ("srt", "application/x-subrip"), ("vtt", "text/vtt"), (None, "application/json")],
)
def test_the_words_are_those_of_the_recognizer(client, hypothesis, sound, kind, content_type):
    response = client.post(wav(sound), *([("response_format", kind)] if kind else []), ("model", "whisper-1"))
    assert response.status == 200 and response.headers["content-type"].partition(";")[0] == content_type
    content = response.data.decode("utf-8")
    assert len(hypothesis.words) > 1
    if kind is None:
        assert json.loads(content) == {"text": hypothesis.text}
    elif kind == "text":
        assert content == hypothesis.text + "\n"
    else:
        assert content == "".join(f"{line}\n" for line in WRITERS[kind]([("", hypothesis)]))


def test_verbose_json_has_times_and_confidences(client, hypothesis, sound):
    fields = ("response_format", "verbose_json"), ("language", "en"), ("temperature", "0")
    answer = json.loads(client.post(wav(sound), *fields).data)
    assert {key: answer[key] for key in ("task", "language", "duration", "text")} == {
        "task": "transcribe",
        "language": "en",
        "duration": 1.5,
        "text": hypothesis.text,
    }
    assert tuple(Word(word.pop("word"), **word) for word in answer["words"]) == hypothesis.words
    assert " ".join(segment["text"] for segment in answer["segments"]) == hypothesis.text
    confidences = [word.confidence for word in hypothesis.words]
    assert min(segment["confidence"] for segment in answer["segments"]) == min(confidences)
    answer = json.loads(client.post(wav(sound), *fields, ("timestamp_granularities[]", "word")).data)
    assert "words" in answer and "segments" not in answer and answer["language"] == "en"


@pytest.mark.parametrize("form", ["FLAC", "OGG", "MP3", "WAV", "AIFF"])
def test_every_format_of_libsndfile_is_read(client, service, sound, tmp_path, form):
    content = wav(np.stack([sound, sound / 2], axis=1), 44100, format=form, subtype=None)
    (tmp_path / "a").write_bytes(content)
    expected = service.recognizer.transcribe([read_audio(tmp_path / "a")])[0]
    response = client.post(content, name="talks/a b.bin")
    assert json.loads(response.data) == {"text": expected.text} and expected.text


@pytest.mark.parametrize(
    "fields, wrong",
    [
        ([("response_format", "docx")], "choose from json, text, srt, vtt, verbose_json"),
        ([("timestamp_granularities[]", "word")], "ask for verbose_json"),
        ([("response_format", "verbose_json"), ("timestamp_granularities[]", "letter")], "there are word, segment"),
        ([("temperature", "0.4")], "nothing is drawn at random"),
        ([("temperature", "warm")], "no number"),
        ([("temperature", "nan")], "nothing is drawn at random"),
        ([("prompt", "Names: Kennedy")], "--hotwords"),
        ([("stream", "true")], "WebSocket"),
        ([("colour", "red")], "field 'colour' is unknown"),
        ([("model", "a"), ("model", "b")], "given twice"),
        ([("file", "no file")], "field 'file' is unknown"),
        ([("file", ("b.wav", b"RIFF"))], "Too many files"),
        ([(f"field{i}", "") for i in range(40)], "Too many fields"),
        ([("prompt", "x" * 70000)], "exceeded maximum size"),
    ],
)
def test_bad_fields_are_named(client, sound, fields, wrong):
    status, message = error_of(client.post(wav(sound), *fields))
    assert status == 400 and wrong in message, message


def test_bad_requests_are_told_apart(client, sound):
    request = client.pool.request
    assert error_of(client.get(PATH))[0] == 405 and error_of(client.get("/v1/nothing"))[0] == 404
    assert error_of(request("POST", client.base + PATH, body=wav(sound)))[0] == 415
    kind = {"content-type": "multipart/form-data"}
    assert error_of(request("POST", client.base + PATH, body=b"", headers=kind))[0] == 400
    kind = {"content-type": "multipart/form-data; boundary=x"}
    for body in (b"", b"--x\r\n\r\n", b"no form", b"--x--\r\n"):
        assert error_of(request("POST", client.base + PATH, body=body, headers=kind))[0] == 400
    fields = [("model", "released")]
    assert error_of(request("POST", client.base + PATH, fields=fields)) == (
        400,
        "field file is missing: it holds the audio file",
    )


def test_audio_that_cannot_be_used_is_told_apart(client, sound):
    assert error_of(client.post(b"no audio" * 100, name="a\nb.wav"))[0] == 415
    assert error_of(client.post(b""))[0] == 415
    truncated = error_of(client.post(wav(sound)[:30000], name="cut.wav"))
    assert truncated[0] == 422 and truncated[1].startswith("cut.wav: truncated")
    short = error_of(client.post(wav(sound[:100]), name="short.wav"))
    assert short == (422, "short.wav: 6.2 ms of audio: at least 25 ms are needed")
    broken = np.full(8000, np.nan, np.float32)
    assert error_of(client.post(wav(broken)))[0] == 422


def test_too_much_is_refused(client, sound):
    large = error_of(client.post(bytes(600_000)))
    assert large == (413, "the upload is larger than 0.5 MB, the most that this server takes")
    assert error_of(client.post(bytes(900_000)))[0] == 413  # by its stated length
    long = error_of(client.post(wav(np.zeros(400_000), format="FLAC", subtype=None), name="long.flac"))
    assert long == (413, "long.flac: longer than 4 s, the most that this server takes")


def test_a_length_that_is_not_stated_is_counted(client):
    def chunks():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for _ in range(10):
            yield bytes(100_000)

    kind = {"content-type": "multipart/form-data; boundary=x", "transfer-encoding": "chunked"}
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        head = "".join(f"{name}: {value}\r\n" for name, value in {"host": "127.0.0.1", **kind}.items())
        connection.sendall(f"POST {PATH} HTTP/1.1\r\n{head}\r\n".encode())
        for chunk in chunks():
            connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_an_upload_that_does_not_arrive_gives_its_place_back(service, monkeypatch):
    monkeypatch.setattr(uploads, "PATIENCE", 0.05)
    with serving(service) as client, socket.create_connection(("127.0.0.1", client.port)) as connection:
        kind = b"content-type: multipart/form-data; boundary=x\r\ncontent-length: 1000\r\n"
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\n".encode() + kind + b"\r\n--x\r\n")
        assert connection.recv(12) == b"HTTP/1.1 408"
        client.wait(lambda health: health["requests"] == 0)


def test_twenty_clients_at_once_get_the_texts_of_one(service):
    sounds = [babble(12000 + 400 * seed, seed) for seed in range(20)]
    alone = [
        asdict(h)["words"] for h in (service.recognizer.transcribe([sound.astype(np.float32)])[0] for sound in sounds)
    ]
    with serving(service) as client, ThreadPoolExecutor(20) as clients:
        send = lambda sound: client.post(wav(sound), ("response_format", "verbose_json"))  # noqa: E731
        answers = [json.loads(response.data) for response in clients.map(send, sounds)]
    assert len({answer["text"] for answer in answers}) > 10
    for answer, words in zip(answers, alone):
        assert [{"text": word.pop("word"), **word} for word in answer["words"]] == list(words)


class Held:
    """A search that waits until it is let go."""

    def __init__(self, service, monkeypatch):
        self.entered, self.go, self.calls = threading.Semaphore(0), threading.Semaphore(0), 0
        self.search = service.transcribe
        monkeypatch.setattr(service, "transcribe", self)

    def __call__(self, recording):
        self.calls += 1
        self.entered.release()
        self.go.acquire()
        return self.search(recording)


def test_a_search_blocks_nobody_and_places_are_limited(service, sound, hypothesis, monkeypatch):
    held = Held(service, monkeypatch)
    with serving(service, max_requests=2) as client, ThreadPoolExecutor(2) as clients:
        first, second = (clients.submit(client.post, wav(sound)) for _ in range(2))
        held.entered.acquire()
        client.wait(lambda health: health["requests"] == 2)  # answered while a search goes on
        refused = client.post(wav(sound))
        assert error_of(refused)[0] == 503 and int(refused.headers["retry-after"]) >= 1
        held.go.release(2)
        for response in (first, second):
            assert json.loads(response.result().data) == {"text": hypothesis.text}
        held.go.release()
        assert client.post(wav(sound)).status == 200


def test_nobody_searches_for_a_client_that_is_gone(service, sound, monkeypatch):
    held = Held(service, monkeypatch)
    with serving(service) as client, ThreadPoolExecutor(1) as clients:
        first = clients.submit(client.post, wav(sound))
        held.entered.acquire()
        body, boundary = client.form(wav(sound))
        with socket.create_connection(("127.0.0.1", client.port)) as connection:
            head = f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {boundary}\r\n"
            connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            client.wait(lambda health: health["requests"] == 2)
        held.go.release()
        assert first.result().status == 200
        client.wait(lambda health: health["requests"] == 0)
        assert held.calls == 1


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are listed on Linux")
def test_no_file_survives(service, sound, tmp_path, monkeypatch):
    """A large upload is in a temporary file that has no name while it is searched, and is closed afterwards."""

    def open_files():
        fds = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return [link for link in map(os.readlink, filter(os.path.lexists, fds)) if str(tmp_path) in link]

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    held, large = Held(service, monkeypatch), wav(np.tile(sound, 20))
    with serving(service) as client, ThreadPoolExecutor(1) as clients:
        sent = clients.submit(client.post, large)
        held.entered.acquire()
        meanwhile, names = open_files(), list(tmp_path.iterdir())
        held.go.release()
        assert sent.result().status == 200
        assert len(meanwhile) == 1 and names == [] and open_files() == []
        for bad in (b"no audio", large[:-9]):
            assert client.post(bad).status in (415, 422)
        assert list(tmp_path.iterdir()) == open_files() == []


def test_a_mistake_in_the_program_is_told_and_logged(service, sound, monkeypatch, caplog):
    def broken(recording):
        raise KeyError("oops")

    monkeypatch.setattr(service, "transcribe", broken)
    with serving(service) as client:
        assert error_of(client.post(wav(sound))) == (500, "KeyError: see the server's log")
        assert client.health()["requests"] == 0
    assert "KeyError: 'oops'" in caplog.text


def test_a_search_that_fails_says_why(model, sound, tmp_path):
    pytest.importorskip("k2")
    service = load(model, "ar-greedy")
    service.recognizer.decode = lambda *args: iter([[type("T", (), {"hypothesis": None, "failure": "array 0: why"})]])
    with serving(service) as client:
        assert error_of(client.post(wav(sound), name="a.wav")) == (422, "a.wav: why")


def test_the_report_is_the_page_of_the_recording(client, hypothesis, sound):
    response = client.post(wav(sound), path="/v1/report", name="talks/a b.wav")
    assert response.status == 200 and response.headers["content-type"] == "text/html; charset=utf-8"
    data = data_in(response.data.decode("utf-8"))
    (utterance,) = data["utterances"]
    assert utterance["id"] == "talks/a%20b.wav" and data["labels"][0] == "ar-greedy" and len(data["labels"]) > 1
    assert [word[0] for word in utterance["rows"][0]["words"]] == [word.text for word in hypothesis.words]


def test_a_long_recording_has_no_report(service, sound, monkeypatch):
    monkeypatch.setattr(transcriptions, "REPORT_SECONDS", 1.0)
    with serving(service) as client:
        assert error_of(client.post(wav(sound), path="/v1/report"))[0] == 413
        assert client.post(wav(sound)).status == 200
