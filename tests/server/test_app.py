"""Routes, and pages of other sites: they may not use the server."""

import json

import pytest

pytest.importorskip("starlette")

from starlette.datastructures import Headers

from hainan_k2 import __version__
from hainan_k2.server.guard import why_refused
from tests.server.running import error_of, serving, wav


@pytest.fixture(scope="module")
def client(service):
    with serving(service) as client:
        yield client


def test_the_model_and_the_state_are_told(client, service):
    models = json.loads(client.get("/v1/models").data)
    assert models["object"] == "list" and [model["id"] for model in models["data"]] == [service.name]
    state = {"status": "ok", "model": service.name, "version": __version__, "requests": 0, "streams": 0}
    assert client.health() == state


def test_the_page_loads_nothing_from_elsewhere(client):
    page = client.get("/")
    rules = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["connect-src"] == "'self'" and "unsafe" not in page.headers["content-security-policy"]
    text = page.data.decode("utf-8")
    assert "src=" not in text.replace("srcdoc", "") and 'href="http' not in text
    assert client.get("/downsampling.js").headers["content-type"].startswith("text/javascript")


def test_pages_of_other_sites_are_refused(client, sound):
    from websockets.exceptions import InvalidStatus

    status, message = error_of(client.post(wav(sound), origin="http://evil.example"))
    assert status == 403 and "'http://evil.example'" in message
    assert error_of(client.get("/health", host="evil.example"))[0] == 403  # a name that leads here
    assert client.post(wav(sound), origin=client.base).status == 200
    with pytest.raises(InvalidStatus), client.stream(origin="http://evil.example"):
        pass
    with client.stream(origin=client.base) as socket:
        assert json.loads(socket.recv())["type"] == "ready"


@pytest.mark.parametrize(
    "host, origin, local, refused",
    [
        ("localhost:8000", None, True, False),
        ("127.0.0.1:8000", "http://127.0.0.1:8000", True, False),
        ("[::1]:8000", "http://[::1]:8000", True, False),
        ("127.0.0.1:8000", "http://127.0.0.1:9000", True, True),
        ("evil.example", None, True, True),
        ("[::1", None, True, True),
        ("", None, True, True),
        ("asr.example", "https://asr.example", False, False),
        ("asr.example", "null", False, True),
        ("asr.example", "https://evil.example", False, True),
    ],
)
def test_hosts_and_origins(host, origin, local, refused):
    headers = Headers({"host": host, **({"origin": origin} if origin else {})})
    assert bool(why_refused(headers, local)) == refused
