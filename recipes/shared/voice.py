"""Synthetic speech by pseudo-speakers of the hibari synthesizer, with the true times of all words.

hibari has one voice. Its network predicts fundamental frequency, spectrum and phone durations separately, so pitch,
vocal tract length and speaking rate can be changed independently.
"""

from __future__ import annotations

from dataclasses import dataclass

import hibari
import numpy as np
import onnx
import onnxruntime
from scipy.signal import lfilter, resample

RATE = 16000  # Hz, of the generated samples
# The sound is this many frames of 25 ms ahead of the predicted phone times, estimated by the shift that gives the best
# agreement of voiced phones with the fundamental frequency.
LEAD = 2
MARGIN = 0.05  # seconds of the synthesizer's own silence kept before the first word and after the last
EDGE = (0.05, 0.95)  # seconds of silence added at either end; short ones are more likely
PAUSE = (0.1, 0.4)  # seconds of a pause between two words
PAUSE_PROBABILITY = 0.25  # of a pause between two words
FADE = 0.01  # seconds of fade-out before a silence and of fade-in after it
Word = tuple[str, float, float]  # text, start and end in seconds


@dataclass(frozen=True)
class Speaker:
    """A pseudo-speaker: how the synthesizer's voice is changed."""

    id: int
    pitch: float  # factor on the fundamental frequency
    formants: float  # factor on the formant frequencies; above 1 is a shorter vocal tract
    pace: float  # factor on the speaking rate
    tilt: float  # pole of a one-pole filter: above 0 is dull, below 0 bright
    snr: float  # signal-to-noise ratio in dB


class Voice:
    """The synthesizer; loads in 0.2 s and uses one thread."""

    def __init__(self):
        self._hibari = hibari.Hibari()
        model = onnx.load(self._hibari.model_path)
        # The only cumulative sum in the graph gives the end times of the phones. Make it an output.
        (ends,) = (node.output[0] for node in model.graph.node if node.op_type == "CumSum")
        model.graph.output.append(onnx.helper.make_tensor_value_info(ends, onnx.TensorProto.INT64, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def speak(
        self, text: str, speaker: Speaker, rng: np.random.Generator, pause_probability: float = PAUSE_PROBABILITY
    ) -> tuple[np.ndarray, list[Word]]:
        """Synthesize a text: samples (N,) at 16 kHz, float64 in [-1, 1], and the words with their times.

        Silences of random length are inserted before, between and after the words, so that a model cannot learn word
        times from the position in the utterance.

        Args:
          text: words in normal form.
          speaker: the pseudo-speaker.
          rng: source of the silences and the noise.
          pause_probability: of a silence between two words.

        Raises:
          ValueError: if the synthesizer's phones do not match the words one to one.
        """
        phones = self._hibari.g2p(text)
        if len(phones.split(" ")) != len(text.split()):
            raise ValueError(f"{text!r}: the synthesizer's phones do not match the words one to one ({phones!r})")
        ids = np.asarray([self._hibari.ids(phones)], np.int64)
        # The resampling below multiplies pitch and pace by `formants`, so they are divided by it here.
        speed = np.asarray([speaker.pace / speaker.formants], np.float32)
        *parts, ends = self._session.run(None, {"ids": ids, "speed": speed})
        lh, theta, ln, lr, phi, f0 = (part[0] for part in parts)
        # In voiced frames the free-phase part repeats the original pitch, audibly below 3 kHz (20 Hz bins).
        lr[:150, f0 > 40] = -20
        wave = hibari.dsp.synth(lh, theta, ln, lr, phi, f0 * speaker.pitch / speaker.formants, rng)
        length = round(len(wave) * RATE / (hibari.SAMPLE_RATE * speaker.formants))
        wave = resample(wave.astype(np.float64), length)
        wave = lfilter([1 - abs(speaker.tilt)], [1, -speaker.tilt], wave)
        wave *= rng.uniform(0.05, 0.12) / wave.std()
        ends = (ends.reshape(-1) - LEAD) * (length / RATE / ends.max())
        words = word_times(text, phones, ends, end_of_sound(wave))
        noise = wave.std() * 10 ** (-speaker.snr / 20)
        wave, words = with_silences(wave, words, draw_silences(len(words), rng, pause_probability))
        return np.clip(wave + noise * rng.standard_normal(len(wave)), -1, 1), words


def draw_silences(words: int, rng: np.random.Generator, pause_probability: float = PAUSE_PROBABILITY) -> np.ndarray:
    """Draw the seconds of silence before each word and after the last one: (words + 1,)."""
    pauses = rng.uniform(*PAUSE, words - 1) * (rng.random(words - 1) < pause_probability)
    before, after = rng.triangular(EDGE[0], EDGE[0], EDGE[1], 2)
    return np.array([before, *pauses, after])


def with_silences(wave: np.ndarray, words: list[Word], silences: np.ndarray) -> tuple[np.ndarray, list[Word]]:
    """Insert silences into a wave (N,) and shift the word times accordingly.

    The synthesizer's own silence at either end is cut to MARGIN. A silence between two words is inserted halfway
    between them. The sound fades out before a silence and in after it.

    Args:
      silences: (words + 1,) seconds, before each word and after the last one.
    """
    lengths = np.rint(silences * RATE).astype(int)
    cuts = [words[0][1] - MARGIN, *((a[2] + b[1]) / 2 for a, b in zip(words, words[1:])), words[-1][2] + MARGIN]
    samples = np.clip(np.rint(np.multiply(cuts, RATE)).astype(int), 0, len(wave))
    fade = np.linspace(0, 1, round(FADE * RATE))
    parts = [np.zeros(lengths[0])]
    for first, last, before, after in zip(samples, samples[1:], lengths, lengths[1:]):
        sound = wave[first:last].copy()
        if before:
            sound[: len(fade)] *= fade
        if after:
            sound[-len(fade) :] *= fade[::-1]
        parts += [sound, np.zeros(after)]
    shifts = (np.cumsum(lengths[:-1]) - samples[0]) / RATE
    moved = [(word, start + shift, end + shift) for (word, start, end), shift in zip(words, shifts)]
    return np.concatenate(parts), moved


def end_of_sound(wave: np.ndarray) -> float:
    """End in seconds of the last 10 ms block that is within 26 dB of the loudest one."""
    blocks = wave[: len(wave) // 160 * 160].reshape(-1, 160)
    power = (blocks**2).mean(axis=1)
    return (int(np.flatnonzero(power > power.max() / 400)[-1]) + 1) * 160 / RATE


def word_times(text: str, phones: str, ends: np.ndarray, sound_ends: float) -> list[Word]:
    """Word times from phone end times in seconds. `phones` has a space between words; `ends` has a pad at either end.

    The network's last phone includes the final silence. So the last word ends at `sound_ends` instead; it starts early
    enough for its other phones, but not before the end of the previous word.
    """
    times, position = [], 1
    for word, group in zip(text.split(), phones.split(" ")):
        times.append((word, float(ends[position - 1]), float(ends[position + len(group) - 1])))
        position += len(group) + 1
    word, start, _ = times.pop()
    earliest = times[-1][2] if times else 0.0
    start = max(earliest, min(start, sound_ends - float(ends[-3] - start)))
    return [*times, (word, start, max(sound_ends, start + 0.05))]
