"""sherpa-onnx and onnx-asr decode an exported model as ar-greedy does: `pip install 'hainan_k2[runtimes]'`."""

import numpy as np
import pytest
import torch

from hainan_k2.config import ModelConfig
from hainan_k2.formats.onnx_runtimes import RUNTIMES
from hainan_k2.formats.onnx_writer import ENDINGS, write_onnx
from hainan_k2.frontend.audio import SAMPLING_RATE, read_audio
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.model.hainan import Hainan
from hainan_k2.search import SearchConfig
from hainan_k2.search.greedy import ar_greedy
from hainan_k2.text.tokenizer import Tokenizer
from tests.formats.sherpa_probe import sherpa_features
from tests.toy import ROOT

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CLEAN = read_audio(ROOT / "tests" / "data" / "jfk.flac")[:48000]
# In noise: without, random models find few tokens.
SAMPLES = CLEAN + 0.02 * np.random.default_rng(0).standard_normal(len(CLEAN)).astype(np.float32)
MODELS = [
    dict(durations=(0, 1, 2, 4, 8), predictor_layers=2),
    dict(durations=(1, 2, 3), num_mel_bins=128, predictor="stateless", predictor_context=3),
    dict(objective="rnnt", durations=(0,), predictor_masking=False, predictor="concat", predictor_context=2),
]
NAMES = ["lstm", "stateless", "rnnt"]


def export(features, dimensions, folder, runtimes):
    """A random model whose decisions vary from frame to frame, with the released model's tokenizer, and its folder."""
    tokenizer = Tokenizer(ROOT / "hainan_k2" / "released")
    torch.manual_seed(0)
    config = ModelConfig.preset("tiny", vocab_size=tokenizer.vocab_size, features=features, **dimensions)
    model = Hainan(config).eval()
    with torch.no_grad():
        for parameter in (*model.predictor.parameters(), model.joiner.out.weight):
            parameter.copy_(torch.randn(parameter.shape))
        if config.objective == "tdt":
            model.predictor.embed.weight[0] = 0.0
            model.joiner.out.bias[tokenizer.vocab_size :] -= 2.0 * torch.arange(len(config.durations))
        model.joiner.out.bias[0] += 2.0 if config.objective == "tdt" else 7.0
    write_onnx(folder, model, tokenizer, runtimes, SearchConfig().max_symbols)
    return model, tokenizer


@torch.no_grad()
def decode(model, max_symbols):
    features = FeatureSpec.of_model(model.config).compute(SAMPLES)
    frames, lens = model.encoder(features[None], torch.tensor([len(features)]))
    return ar_greedy(model, frames, lens, SearchConfig(max_symbols=max_symbols))[0]


@pytest.mark.parametrize("dimensions", MODELS, ids=NAMES)
def test_onnx_asr_finds_the_text_of_ar_greedy(dimensions, tmp_path):
    onnx_asr = pytest.importorskip("onnx_asr")
    model, tokenizer = export("nemo", dimensions, tmp_path, RUNTIMES)
    ours = decode(model, SearchConfig().max_symbols)
    kind = f"nemo-conformer-{model.config.objective}"
    runtime = onnx_asr.load_model(kind, tmp_path)
    found = runtime.with_timestamps().recognize(SAMPLES)
    assert found.tokens == [tokenizer.pieces[i].replace("▁", " ") for i in ours.ids] and len(ours.ids) > 10
    np.testing.assert_allclose(found.timestamps, [0.08 * token.frame for token in ours.tokens], atol=1e-6)
    assert len(set(ours.ids)) > 8
    assert model.config.objective == "rnnt" or len({token.duration for token in ours.tokens}) > 1
    int8 = onnx_asr.load_model(kind, tmp_path, quantization="int8")
    assert isinstance(int8.recognize(SAMPLES), str)


def recognise_by_sherpa(folder, precision):
    import sherpa_onnx

    names = {name: str(folder / f"{name}.{ENDINGS[precision]}") for name in ("encoder", "decoder", "joiner")}
    runtime = sherpa_onnx.OfflineRecognizer.from_transducer(
        **names, tokens=str(folder / "tokens.txt"), model_type="nemo_transducer"
    )
    stream = runtime.create_stream()
    stream.accept_waveform(SAMPLING_RATE, SAMPLES)
    runtime.decode_stream(stream)
    return stream.result


@pytest.mark.parametrize("dimensions", MODELS, ids=NAMES)
def test_sherpa_onnx_finds_the_tokens_of_ar_greedy(dimensions, tmp_path):
    pytest.importorskip("sherpa_onnx")
    model, tokenizer = export("sherpa-onnx", dimensions, tmp_path, ["sherpa-onnx"])
    found = recognise_by_sherpa(tmp_path, "float32")
    ours = decode(model, 5 if model.config.objective == "tdt" else 10)  # sherpa-onnx's own limits
    pieces = [tokenizer.pieces[i] for i in ours.ids]
    assert [token.replace(" ", "▁") for token in found.tokens] == pieces and len(ours.ids) > 10
    np.testing.assert_allclose(found.timestamps, [0.08 * token.frame for token in ours.tokens], atol=1e-5)
    if model.config.objective == "tdt":
        np.testing.assert_allclose(found.durations, [0.08 * token.duration for token in ours.tokens], atol=1e-5)
    assert len(recognise_by_sherpa(tmp_path, "int8").tokens) > 5  # rounding decides which ones a random model finds


@pytest.mark.parametrize("bins", [80, 128])
@pytest.mark.parametrize(
    "samples, tolerance",
    [(CLEAN, 1e-4), (SAMPLES[:12345], 1e-4), (0.01 * SAMPLES, 1e-3)],
    ids=["clean", "short", "quiet"],
)
def test_the_features_that_sherpa_onnx_computes(bins, samples, tolerance, tmp_path):
    """In a quiet recording the guard in the logarithm hides most of what varies: dividing by a deviation of 0.03 also
    enlarges the rounding of sherpa-onnx's mean."""
    pytest.importorskip("sherpa_onnx")
    theirs = sherpa_features(tmp_path, samples, bins)
    np.testing.assert_allclose(FeatureSpec("sherpa-onnx", bins).compute(samples), theirs, atol=tolerance)
