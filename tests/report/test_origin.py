"""What the end of a page says of its model and command."""

import hashlib
import sys

import pytest

from hainan_k2.report.origin import origin
from hainan_k2.version import code_version


def test_origin(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()[:12]
    monkeypatch.setattr(sys, "argv", ["/opt/bin/transcribe.py", "my talk.flac", "caf\udce9.wav", "--method", "sar"])
    named = dict(origin([tmp_path / "model.safetensors"], "released"))
    assert named["model"] == f"released: model.safetensors (SHA-256 {digest})"
    assert named["command"] == "transcribe.py 'my talk.flac' 'caf\\xe9.wav' --method sar"
    assert named["hainan_k2"] == code_version() and named["date"].endswith(" UTC")
    averaged = [tmp_path / "epoch-1.safetensors", tmp_path / "epoch-2.safetensors"]
    for path in averaged:
        path.write_bytes(path.name.encode())
    first, second = (f"{path} (SHA-256 {hashlib.sha256(path.name.encode()).hexdigest()[:12]})" for path in averaged)
    assert dict(origin(averaged))["model"] == f"{first}, {second}"
    with pytest.raises(FileNotFoundError):
        origin([tmp_path / "none.safetensors"])
