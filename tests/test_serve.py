"""serve.py: what cannot be served, and where it listens."""

import sys

import pytest

from hainan_k2 import serve

NAMES = {"python_multipart", "starlette", "uvicorn", "websockets"}


@pytest.mark.parametrize(
    "options, wrong",
    [
        (["--model", "nowhere"], "nowhere"),
        (["--method", "fast"], "no method 'fast'"),
        (["--method", "nbest-oracle"], "nbest-oracle needs references"),
        (["--beam", "2,4", "--method", "ar-beam"], "one value of every option"),
        (["--port", "70000"], "port"),
        (["--host", "203.0.113.1"], "--host 203.0.113.1 --port 8000: "),
        (["--max-requests", "0"], "max_requests"),
    ],
)
def test_what_cannot_be_served_is_told_in_one_line(options, wrong, capsys):
    pytest.importorskip("starlette")
    if "nbest-oracle" in options:
        pytest.importorskip("k2")
    with pytest.raises(SystemExit) as ended:
        serve.main(options)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert ended.value.code == 2 and wrong in line


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_missing_package_is_named(name, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, name, None)
    for other in NAMES - {name}:
        monkeypatch.setitem(sys.modules, other, sys)
    with pytest.raises(SystemExit) as ended:
        serve.main([])
    error = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2 and name in error and "pip install 'hainan_k2[serve]'" in error


@pytest.mark.parametrize(
    "host, local", [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("box.lan", False)]
)
def test_only_the_loopback_address_is_local(host, local):
    assert serve.is_local(host) == local
