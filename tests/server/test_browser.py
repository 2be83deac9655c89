"""The page in a real browser: a file is dropped, a visitor speaks into a microphone that plays a file."""

import json

import numpy as np
import pytest
import soundfile

pytest.importorskip("starlette")

from hainan_k2.frontend.audio import read_audio
from tests.report.browser import browsing, find_browser
from tests.report.pages import JFK
from tests.server.running import serving
from tests.toy import ROOT

WORDS = "[...document.querySelectorAll('.words .timed')].map((word) => word.textContent)"
IDLE = "!document.querySelector('.ways button').disabled"


@pytest.fixture
def programs():
    try:
        return find_browser()
    except LookupError as lacking:
        pytest.skip(str(lacking))


@pytest.fixture
def tab(programs, tmp_path):
    """A browser whose microphone plays the recording again and again: on a busy machine it loses some of it."""
    soundfile.write(tmp_path / "speech.wav", np.concatenate([read_audio(JFK, 48000), np.zeros(48000 * 4)]), 48000)
    fake = "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"
    played = f"--use-file-for-fake-audio-capture={tmp_path / 'speech.wav'}"
    with browsing(*programs, tmp_path / "profile", *fake, played) as tab:
        yield tab


def test_a_file_is_transcribed_and_its_report_shown(service, tab):
    with serving(service) as client:
        tab.visit(client.base)
        tab.wait(IDLE)
        tab.upload("input[type=file]", JFK)
        tab.wait("document.querySelector('iframe') !== null")
        assert tab.evaluate(WORDS) == service.recognizer.transcribe([JFK])[0].text.split()
        assert "11.0 s" in tab.evaluate("document.querySelector('[role=status]').innerText")
        with tab.frame("iframe"):
            tab.wait("document.querySelectorAll('.playhead').length === 1")
            assert tab.count("details.utterance") == 1 and tab.count("audio") == 1
        assert tab.logged == []


def test_what_is_no_audio_is_refused_in_words(service, tab):
    with serving(service) as client:
        tab.visit(client.base)
        tab.upload("input[type=file]", ROOT / "LICENSE")
        tab.wait("document.querySelector('.warning') !== null")
        assert tab.evaluate("document.querySelector('.warning').innerText").startswith("LICENSE: not an audio file")
        assert tab.count("iframe") == 0 and tab.evaluate(WORDS) == []


def test_a_visitor_speaks(service, tab):
    with serving(service) as client:
        tab.visit(client.base)
        tab.evaluate("document.querySelector('.ways button').click()")
        tab.wait("document.querySelectorAll('.words .timed').length > 3")  # while the microphone is open
        assert tab.evaluate("document.querySelector('.ways button').innerText") == "Stop"
        assert client.health()["streams"] == 1
        tab.evaluate("document.querySelector('.ways button').click()")
        tab.wait("document.querySelector('.ways button').innerText === 'Speak' && " + IDLE)
        spoken = tab.evaluate(WORDS)
        client.wait(lambda health: health["streams"] == 0)
        tab.evaluate("[...document.querySelectorAll('button')].find((b) => b.innerText === 'show lattice').click()")
        tab.wait("document.querySelector('iframe') !== null")
        with tab.frame("iframe"):
            tab.wait("document.querySelectorAll('.playhead').length === 1")
            assert tab.evaluate("document.querySelector('code').innerText") == "microphone.wav"
        assert len(spoken) > 3 and tab.logged == []


def test_no_microphone_is_told(service, programs, tmp_path):
    with browsing(*programs, tmp_path / "profile") as tab, serving(service) as client:
        tab.visit(client.base)
        tab.evaluate("document.querySelector('.ways button').click()")
        tab.wait("document.querySelector('.warning') !== null")
        assert tab.evaluate("document.querySelector('.ways button').innerText") == "Speak"
        assert client.health()["streams"] == 0


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_the_page_changes_the_rate_of_sound(programs, tmp_path, rate):
    """A tone below 8 kHz keeps its frequency and level, one above vanishes; the blocks do not matter."""
    source = (ROOT / "hainan_k2" / "server" / "downsampling.js").read_text(encoding="utf-8").partition("// Posts")[0]
    tones = [1000, 9000] if rate > 18000 else [1000]
    blocks = "[1, 128, 128, 500, 1000000]"
    program = f"""(() => {{ {source}
      return {json.dumps(tones)}.map((hertz) => {{
        const input = Float32Array.from({{ length: {rate} }}, (_, i) => Math.sin(2 * Math.PI * hertz * i / {rate}));
        const one = new Downsampler({rate}), output = [];
        let at = 0;
        for (const size of {blocks}) {{ output.push(...one.push(input.slice(at, at + size))); at += size; }}
        return [...output, ...one.end()];
      }});
    }})()"""
    with browsing(*programs, tmp_path / "profile") as tab:
        tab.open(ROOT / "hainan_k2" / "report" / "page.html")
        outputs = [np.array(output) for output in tab.evaluate(program)]
    middle = slice(500, 15500)
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    assert abs(len(outputs[0]) - 16000) <= 1
    np.testing.assert_allclose(outputs[0][middle], expected[middle], atol=2e-3)
    for vanished in outputs[1:]:
        assert np.abs(vanished[middle]).max() < 0.01
