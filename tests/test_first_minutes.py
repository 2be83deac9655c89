"""README's first minutes: every block is run, and what it prints is what the README shows."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from hainan_k2.formats.model_dir import read_model
from hainan_k2.frontend.audio import read_audio
from tests.recipes.test_own import MINIATURE, folder_of_audio, make_speech
from tests.report.pages import JFK
from tests.toy import ROOT

(SECTION,) = re.findall(r"^## First minutes\n(.*?)^## ", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", SECTION, re.M | re.S)  # (language, content)


def block(beginning):
    """The content of the block that begins so."""
    (found,) = (content for _, content in BLOCKS if content.startswith(beginning))
    return found


def steps(content):
    """[(command, lines that it prints)] of a block of language console."""
    parts = re.split(r"^\$ ", content, flags=re.M)[1:]
    return [(command, lines) for command, *lines in (part.splitlines() for part in parts)]


def assert_shown(printed, shown):
    """The printed lines are the shown ones, up to `...` if it is there. Confidences may differ by 0.02."""
    shown = shown[:-1] if (more := shown[-1] == "...") else shown
    assert len(printed) > len(shown) if more else len(printed) == len(shown)
    for line, expected in zip(printed, shown):
        words = [re.match(r" +(\S+) +(\S+) +(\S+)  (.*)", text) for text in (line, expected)]
        if all(words):
            start, end, confidence, word = zip(*(match.groups() for match in words))
            assert len({start, end, word}) == 3 and start[0] == start[1] and end[0] == end[1] and word[0] == word[1]
            assert abs(float(confidence[0]) - float(confidence[1])) <= 0.02
        else:
            assert line == expected


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """An environment whose PATH has the commands of the package, run by the Python of this test."""
    folder, config = tmp_path_factory.mktemp("bin"), configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    scripts = [line.split(" = ") for line in config["options.entry_points"]["console_scripts"].strip().splitlines()]
    for name, target in scripts:
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {target.partition(":")[0]} "$@"\n')
        (folder / name).chmod(0o755)
    path = f"{folder}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}


def run(command, env, cwd=ROOT):
    """Standard output of a bash script that succeeds."""
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], env=env, cwd=cwd, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_block_is_tested():
    beginnings = [
        "$ hainan-transcribe",
        "import hainan_k2",
        "arecord",
        "$ hainan-serve",
        "recipes/own",
        "hainan-import",
    ]
    assert len(BLOCKS) == len(beginnings) and all(map(block, beginnings))


def test_a_recording(commands):
    pytest.importorskip("k2")
    ((command, shown),) = steps(block("$ hainan-transcribe"))
    assert_shown(run(command, commands).splitlines(), shown)


def test_the_same_in_python(commands):
    pytest.importorskip("k2")
    printed = run(f'python - <<"END"\n{block("import hainan_k2")}END\n', commands).splitlines()
    ((_, shown),) = steps(block("$ hainan-transcribe"))
    assert shown[0] == f"tests/data/jfk.flac: {printed[0]}"
    start, end, _, word = shown[1].split()
    assert printed[1].startswith(f"[('{word}', {float(start)}, {float(end)}, ")


def test_while_you_speak(commands, tmp_path):
    """arecord is a program that plays a recording into the pipe."""
    samples = np.pad(read_audio(JFK)[: 16000 * 5] * 32767, (0, 16000 * 2)).astype("<i2")
    (tmp_path / "sound").write_bytes(samples.tobytes())
    (tmp_path / "arecord").write_text(
        f'#!/bin/sh\n[ "$*" = "-q -t raw -f S16_LE -r 16000 -c 1" ] && cat "{tmp_path}/sound"\n'
    )
    (tmp_path / "arecord").chmod(0o755)
    printed = run(block("arecord"), {**commands, "PATH": f"{tmp_path}:{commands['PATH']}"})
    assert '"text": "my"' in printed and '"endpoint": true' in printed


def test_a_server(commands):
    pytest.importorskip("k2")
    pytest.importorskip("starlette")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (serve, nothing), (command, shown) = steps(block("$ hainan-serve"))
    assert serve == "hainan-serve &" and not nothing
    server = subprocess.Popen(
        ["hainan-serve", "--port", "0"], env=commands, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        port = next(filter(None, (re.search(r"http://127\.0\.0\.1:(\d+)", line) for line in server.stderr)))[1]
        assert ":8000/" in command
        assert_shown(run(command.replace(":8000/", f":{port}/"), commands).splitlines(), shown)
    finally:
        server.send_signal(signal.SIGINT)
        server.stderr.read()
        server.wait()


def test_fine_tuning(commands, tmp_path):
    pytest.importorskip("kaldingram")
    folder_of_audio(make_speech(tmp_path))
    (tmp_path / "data").rename(tmp_path / "talks")
    (tmp_path / "recipes" / "own").mkdir(parents=True)
    (tmp_path / "recipes" / "own" / "run.sh").write_text(MINIATURE)
    (tmp_path / "recipes" / "own" / "run.sh").chmod(0o755)
    printed = run(block("recipes/own"), commands, tmp_path)
    assert all(f"talks/{i}.wav: " in printed for i in range(4))
    assert read_model(tmp_path / "mine")[1].normalisation == "english"


def test_a_parakeet(commands, tmp_path):
    shutil.copy(ROOT / "tests" / "data" / "nemo_tdt_tiny.nemo", tmp_path / "parakeet-tdt.nemo")
    shutil.copy(JFK, tmp_path / "talk.flac")
    assert "talk.flac: " in run(block("hainan-import"), commands, tmp_path)
