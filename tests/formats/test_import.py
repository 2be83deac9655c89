"""Models of NeMo and transformers give their own encoder outputs, tokens, frames and words after the import.

tests/README.md says how the models in tests/data were made. imports.npz holds, for two spans of jfk.flac, what NeMo 3.0
and transformers 5.24 compute of each utterance alone: encoder output, greedy tokens and frames, CTC log-probabilities.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hainan_k2 import METHODS, Recognizer, SearchConfig
from hainan_k2.import_model import main

DATA = Path(__file__).parent.parent / "data"
SPANS = ((0, 80000), (48000, 160123))  # samples
MODELS = ("nemo_tdt_tiny.nemo", "parakeet_tiny", "nemo_hybrid.nemo", "nemo_rnnt.nemo")


@pytest.fixture(scope="module")
def clips():
    samples, _ = soundfile.read(DATA / "jfk.flac", dtype="float32")
    return [samples[begin:end] for begin, end in SPANS]


@pytest.fixture(scope="module")
def expected():
    return dict(np.load(DATA / "imports.npz"))


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A function that imports a model of tests/data once and loads it."""
    folder, loaded = tmp_path_factory.mktemp("imports"), {}

    def load(name):
        if name not in loaded:
            main([str(DATA / name), "--out", str(folder / name)])
            loaded[name] = Recognizer.load(folder / name, device="cpu")
        return loaded[name]

    return load


def of(expected, name, key, i):
    return expected[f"{Path(name).stem}/{key}_{i}"]


@pytest.mark.parametrize("name", MODELS)
def test_encoder_output(name, imported, clips, expected):
    out, lens = imported(name).encode(clips)
    for i, length in enumerate(lens):
        theirs = torch.from_numpy(of(expected, name, "encoder", i))
        torch.testing.assert_close(out[i, :length], theirs, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_greedy_tokens_and_frames(name, imported, clips, expected):
    hypotheses = imported(name).transcribe(clips)
    for i, hypothesis in enumerate(hypotheses):
        tokens = of(expected, name, "tokens", i)
        assert name.startswith("parakeet") or list(hypothesis.ids) == (tokens + 1).tolist()
        assert [id - 1 for id in hypothesis.ids] == tokens.tolist()
        assert [token.frame for token in hypothesis.tokens] == of(expected, name, "frames", i).tolist()
        assert len(tokens) > 10


@pytest.mark.parametrize("name", ["nemo_tdt_tiny.nemo", "parakeet_tiny"])
def test_durations(name, imported, clips, expected):
    for i, hypothesis in enumerate(imported(name).transcribe(clips)):
        assert [token.duration for token in hypothesis.tokens] == of(expected, name, "durations", i).tolist()


def test_text_and_word_times(imported, clips, expected):
    name = "nemo_tdt_tiny.nemo"
    for i, hypothesis in enumerate(imported(name).transcribe(clips)):
        assert hypothesis.text == of(expected, name, "text", i).tobytes().decode()
        theirs = json.loads(of(expected, name, "words", i).tobytes())
        assert [word.text for word in hypothesis.words] == [word["word"] for word in theirs]
        seconds = len(clips[i]) / 16000  # NeMo's last word may end later
        for word, their in zip(hypothesis.words, theirs):
            assert abs(word.start - 0.08 * their["start_offset"]) <= 0.0801
            assert abs(word.end - min(seconds, 0.08 * their["end_offset"])) <= 0.0801
            assert 0 < word.confidence <= 1


def test_both_heads_of_a_hybrid(imported, clips, expected):
    recognizer = imported("nemo_hybrid.nemo")
    out, lens = recognizer.encode(clips)
    for i, length in enumerate(lens):
        with torch.no_grad():
            ours = recognizer.model.ctc_log_probs(out[i, :length])
        theirs = torch.from_numpy(of(expected, "nemo_hybrid", "ctc", i))
        torch.testing.assert_close(torch.cat([ours[:, 1:], ours[:, :1]], 1), theirs, atol=1e-3, rtol=0)
        best = theirs.argmax(-1).tolist()
        runs = [label for t, label in enumerate(best) if label != 128 and (t == 0 or label != best[t - 1])]
        (hypothesis,) = recognizer.transcribe([clips[i]], "ctc-greedy")
        assert [id - 1 for id in hypothesis.ids] == runs


@pytest.mark.parametrize("name", ["nemo_tdt_tiny.nemo", "parakeet_tiny"])
@pytest.mark.parametrize("precision", ["float16", "bfloat16", "int8"])
def test_precisions_of_the_model_directory(name, precision, tmp_path, imported, clips):
    exact, _ = imported(name).encode(clips[:1])
    main([str(DATA / name), "--out", str(tmp_path / "m"), "--precision", precision])
    close, _ = Recognizer.load(tmp_path / "m", device="cpu").encode(clips[:1])
    assert 0 < (close - exact).norm() / exact.norm() < {"float16": 0.005, "bfloat16": 0.05, "int8": 0.1}[precision]


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_precisions_in_memory(precision, tmp_path, imported, clips):
    name = "nemo_tdt_tiny.nemo"
    main([str(DATA / name), "--out", str(tmp_path / "m")])
    exact, _ = imported(name).encode(clips[:1])
    recognizer = Recognizer.load(tmp_path / "m", device="cpu", precision=precision)
    close, _ = recognizer.encode(clips[:1])
    assert close.dtype == torch.float32 and 0 < (close - exact).norm() / exact.norm() < 0.1
    assert recognizer.transcribe(clips[:1])[0].tokens
    if precision == "bfloat16":
        assert {v.dtype for v in recognizer.model.encoder.parameters()} == {torch.bfloat16}
        assert {v.dtype for v in recognizer.model.joiner.parameters()} == {torch.float32}


def test_an_unpacked_archive_gives_the_same_model(tmp_path, imported):
    with tarfile.open(DATA / "nemo_hybrid.nemo") as archive:
        archive.extractall(tmp_path / "unpacked")
    main([str(tmp_path / "unpacked"), "--out", str(tmp_path / "m")])
    same = Recognizer.load(tmp_path / "m", device="cpu").model.state_dict()
    state = imported("nemo_hybrid.nemo").model.state_dict()
    assert list(same) == list(state) and all(torch.equal(same[name], value) for name, value in state.items())


def test_sharded_weights_give_the_same_model(tmp_path, imported):
    from safetensors.torch import load_file, save_file

    weights = load_file(DATA / "parakeet_tiny" / "model.safetensors")
    names, folder = sorted(weights), tmp_path / "sharded"
    folder.mkdir()
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: weights[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for file in ("config.json", "preprocessor_config.json", "tokenizer.json"):
        (folder / file).write_bytes((DATA / "parakeet_tiny" / file).read_bytes())
    main([str(folder), "--out", str(tmp_path / "m")])
    same = Recognizer.load(tmp_path / "m", device="cpu").model.state_dict()
    state = imported("parakeet_tiny").model.state_dict()
    assert list(same) == list(state) and all(torch.equal(same[name], value) for name, value in state.items())


@pytest.mark.parametrize("name", MODELS)
def test_every_method_that_suits_the_model_runs(name, imported, clips):
    from hainan_k2.search import choose_methods

    recognizer = imported(name)
    methods = choose_methods(["all"], model=recognizer.model.config)
    assert "ar-beam" in methods and "viterbi" not in methods and ("ctc-greedy" in methods) == ("hybrid" in name)
    for method in methods:
        (hypothesis,) = recognizer.transcribe(clips[:1], method, SearchConfig(nbest=2))
        assert hypothesis.text and all(0 <= word.confidence <= 1 for word in hypothesis.words)


def test_encoder_only_methods_of_an_unmasked_tdt_run_if_they_are_named(imported, clips, caplog):
    recognizer = imported("nemo_tdt_tiny.nemo")
    assert recognizer.transcribe(clips[:1], "nar-greedy")[0].num_frames == 63
    assert "the encoder-only joint of this model is not trained" in caplog.text


def test_what_is_known_of_the_origin(imported):
    provenance = imported("nemo_hybrid.nemo").provenance["imported"]
    assert provenance["program"] == "NeMo 3.0.0" and provenance["class"] == "EncDecHybridRNNTCTCBPEModel"
    assert provenance["file"] == "nemo_hybrid.nemo" and len(provenance["sha256"]) == 64
    assert "spec_augment" in provenance["ignored"] and "encoder" not in provenance["ignored"]
    assert set(METHODS) > {"ctc-greedy"}
