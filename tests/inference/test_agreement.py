"""One engine: decode.py and transcribe.py give the same words and times for the same audio, whatever its length."""

import json

import numpy as np
import pytest
import soundfile
import torch
from kaldialign import edit_distance
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from hainan_k2 import compute_features, decode, transcribe
from hainan_k2.bench.decode import random_model
from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.formats.model_dir import find_model
from hainan_k2.frontend.audio import read_audio
from hainan_k2.frontend.log_mel import log_mel
from hainan_k2.frontend.spec import FBANK, FeatureSpec
from hainan_k2.fsa.k2 import why_no_k2
from hainan_k2.inference.engine import encode_batch
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.inference.window_sizes import Windows
from hainan_k2.inference.windows import encode_audio, encode_features
from hainan_k2.lang import arpa_to_fst, compile_graph, make_lexicon, train_lm
from hainan_k2.search import METHODS, SearchConfig
from tests.data.corpus import babble
from tests.toy import ROOT

JFK = ROOT / "tests" / "data" / "jfk.flac"  # 11 s
TEXT = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
WITH_K2 = not why_no_k2()
# The released model has no CTC head; without k2 there are no resources (`resources`).
CHOSEN = [n for n, m in METHODS.items() if (WITH_K2 or not (m.needs_k2 or m.needs)) and "ctc" not in m.parts]


@pytest.fixture(scope="module")
def resources(tmp_path_factory):
    """Flags of a small LM over tokens, a word graph and a grammar, all of the words in TEXT."""
    if not WITH_K2:
        return []
    folder = tmp_path_factory.mktemp("resources")
    for name in ("bpe.model", "tokens.txt"):
        (folder / name).write_bytes((find_model("released") / name).read_bytes())
    (folder / "text").write_text(f"{TEXT}\nask not what you can do\nwhat can you do for my country\n")
    (folder / "words.grammar").write_text(f"sentence: $word+\nword: {' | '.join(sorted(set(TEXT.split())))}\n")
    text, lang = ["--text", str(folder / "text")], ["--lang-dir", str(folder)]
    train_lm.main([*text, *lang, "--order", "2", "--arpa", str(folder / "tokens.arpa")])
    train_lm.main([*text, "--order", "2", "--arpa", str(folder / "words.arpa")])
    make_lexicon.main([*text, *lang])
    words = ["--arpa", str(folder / "words.arpa"), "--words", str(folder / "words.txt")]
    arpa_to_fst.main([*words, "--out-dir", str(folder)])
    compile_graph.main([*lang, "--g", str(folder / "G.fst.txt"), "--out-dir", str(folder)])
    files = {"lm": "tokens.arpa", "graph": "LG.safetensors", "grammar": "words.grammar"}
    return [word for flag, name in files.items() for word in (f"--{flag}", str(folder / name))]


def write_cut(path, cuts):
    """A manifest of one cut: all of the recording at `path`, with the text of jfk.flac."""
    recording = Recording.from_file(path)
    seconds = recording.duration
    supervision = SupervisionSegment("long", recording.id, 0, seconds, text=TEXT)
    CutSet.from_cuts([MonoCut("long", 0, seconds, 0, [supervision], recording=recording)]).to_file(cuts)


def run(main, *arguments):
    """The exit code of a command."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        return stopped.code
    return 0


@pytest.mark.parametrize(
    "seconds", [5, pytest.param(30, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.slow)]
)
def test_both_commands_give_the_same_words_and_times(resources, tmp_path, seconds):
    audio, cuts = tmp_path / "long.flac", tmp_path / "long.jsonl.gz"
    samples = read_audio(JFK)
    soundfile.write(audio, np.resize(samples, 16000 * seconds), 16000)
    write_cut(audio, cuts)
    (tmp_path / "texts").write_text(f"{audio} {TEXT}\n")
    reference = ["--reference", tmp_path / "texts"]
    unlimited = [name for name in CHOSEN if seconds <= 30 or not METHODS[name].oracle]
    either = [name for name in CHOSEN if {"grammar", "graph"} <= {*METHODS[name].needs, *METHODS[name].uses}]
    either += ["rescore"]  # the released model stores --lattice ar for it
    folder_of = {}
    for folder, names, files in (
        (tmp_path / "all", [name for name in CHOSEN if name not in either], resources),
        (tmp_path / "either", either, resources[:2]),  # they take a grammar or a graph, not both: the LM alone
    ):
        folder_of.update({name: folder for name in names})
        common = ["--model", "released", "--method", ",".join(names), "--write", "jsonl", "--device", "cpu", *files]
        code = 0 if set(names) <= set(unlimited) else 1  # the n-best lists of an oracle are those of one segment
        assert run(decode.main, "--cuts", cuts, *common, "--out-dir", folder / "decode", "--num-workers", 0) == code
        assert run(transcribe.main, audio, *common, *reference, "--out-dir", folder / "transcribe") == code
    texts = set()
    for name in unlimited:
        folder, suffix = folder_of[name], f".{name}" if list(folder_of.values()).count(folder_of[name]) > 1 else ""
        (one,) = map(json.loads, (folder / "decode" / f"long-{name}.jsonl").read_text().splitlines())
        (two,) = map(json.loads, (folder / "transcribe" / f"transcripts{suffix}.jsonl").read_text().splitlines())
        times = [[(word["text"], word["start"], word["end"]) for word in result["words"]] for result in (one, two)]
        tokens = [[(t["id"], t["frame"], t["duration"]) for t in result["tokens"]] for result in (one, two)]
        assert times[0] == times[1] and len(times[0]) > seconds, name
        assert tokens[0] == tokens[1] and one["text"] == two["text"] and one["note"] == two["note"], name
        assert one["score"] == pytest.approx(two["score"], rel=1e-4), name
        texts.add(one["text"])
    assert len(texts) > 1, "the methods should not all agree"


def test_cuts_longer_than_a_window_come_last_and_one_by_one(toy):
    model = random_model("tiny", 40, seed=1)
    config = DataConfig(max_duration=6, num_workers=0)
    cuts = str(toy / "dev.jsonl.gz")
    whole = {name: n for batch in EvaluationData(cuts, config, model.config) for name, n in zip(batch.ids, batch.lens)}
    seconds = sorted(cut.duration for cut in CutSet.from_file(cuts))
    for longest in (seconds[10], 0.0, 100.0):
        count = sum(value > longest for value in seconds)
        batches = list(EvaluationData(cuts, config, model.config, longest=longest))
        long = [batch for batch in batches if batch.long is not None]
        assert len(long) == count and batches[len(batches) - count :] == long
        assert sorted(name for batch in batches for name in batch.ids) == sorted(whole)
        for batch in long:
            assert len(batch.ids) == 1 and batch.seconds[0] > longest and batch.texts[0]
            _, lens = encode_batch(model, batch, Windows(3, 2, 1, 1))
            assert int(lens) == -(-int(whole[batch.ids[0]]) // 8)


def test_stored_log_mel_features_give_nearly_the_output_of_audio():
    recognizer = Recognizer.load("released", device="cpu")
    samples = np.resize(read_audio(JFK), 16000 * 30)
    expected, lens = encode_audio(recognizer.model, recognizer.spec, [samples], recognizer.windows)
    features = log_mel(torch.from_numpy(samples)).numpy()
    encoded, stored_lens = encode_features(recognizer.model, recognizer.spec, features, recognizer.windows)
    assert torch.equal(lens, stored_lens)
    assert (encoded - expected).norm() < 0.02 * expected.norm()
    words = []
    for frames in (expected, encoded):
        (hypothesis,) = METHODS["ar-greedy"].function(recognizer.model, frames, lens, SearchConfig())
        words.append(hypothesis.with_words(recognizer.tokenizer.pieces).text.split())
    assert edit_distance(*words)["total"] <= 1 and len(words[0]) > 40


def test_stored_fbank_features_give_nearly_the_output_of_audio(tmp_path):
    samples = babble(16000 * 12, seed=4).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", samples, 16000, subtype="FLOAT")
    (tmp_path / "manifests").mkdir()
    write_cut(tmp_path / "long.wav", tmp_path / "manifests" / "cuts_x.jsonl.gz")
    folders = ["--manifest-dir", tmp_path / "manifests", "--out-dir", tmp_path / "fbank"]
    assert run(compute_features.main, *folders, "--split", "x") == 0
    model, windows = random_model("tiny", 40, seed=1), Windows(40, 30, 10, 10)
    stored = str(tmp_path / "fbank" / "cuts_x.jsonl.gz")
    (batch,) = EvaluationData(stored, DataConfig(num_workers=0), model.config, longest=windows.seconds)
    assert batch.long.recording.shape == (1200, 80)
    encoded, lens = encode_batch(model, batch, windows)
    expected, expected_lens = encode_audio(model, FBANK, [samples], windows)
    assert torch.equal(lens, expected_lens) and (encoded - expected).norm() < 0.05 * expected.norm()
    (whole,) = EvaluationData(stored, DataConfig(num_workers=0), model.config)
    with torch.no_grad():
        at_once, _ = model.encoder(whole.features, whole.lens)
    assert (encoded - at_once).norm() > 2 * (encoded - expected).norm(), "windows should make a difference"


def test_stored_encoder_states_are_cut_into_windows():
    recognizer = Recognizer.load("released", device="cpu")
    width = recognizer.model.config.whisper_dim
    states = np.random.default_rng(0).standard_normal((1501, width)).astype(np.float32)
    windows = Windows(40, 30, 10, 10)
    sizes = []
    hook = recognizer.model.encoder.register_forward_hook(lambda module, inputs, outputs: sizes.append(int(inputs[1])))
    try:
        encoded, lens = encode_features(recognizer.model, FeatureSpec("states", width), states, windows)
    finally:
        hook.remove()
    assert encoded.shape[:2] == (1, 376) and lens.tolist() == [376]  # ceil(1501 / 4)
    assert len(sizes) == 12 and sizes[:2] == [200, 200] and max(sizes) == 200
