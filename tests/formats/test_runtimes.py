"""sherpa-onnx and onnx-asr decode an exported model as ar-greedy does: `pip install 'hainan_k2[runtimes]'`."""

import numpy as np
import pytest
import torch

from hainan_k2.config import ModelConfig
from hainan_k2.formats.onnx_runtimes import RUNTIMES
from hainan_k2.formats.onnx_writer import ENDINGS, write_onnx
from hainan_k2.frontend.audio import SAMPLING_RATE, read_audio
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.inference.onnx_transducer import OnnxTransducer
from hainan_k2.model.hainan import Hainan
from hainan_k2.search import SearchConfig
from hainan_k2.search.greedy import ar_greedy
from hainan_k2.text.tokenizer import Tokenizer
from recipes.shared.runtimes import sherpa_features
from tests.toy import ROOT

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

# Speech in noise: the recording alone has no energy above 7 kHz, and there sherpa-onnx's features are rounding errors.
SAMPLES = read_audio(ROOT / "tests" / "data" / "jfk.flac")[:48000]
SAMPLES += 0.02 * np.random.default_rng(0).standard_normal(len(SAMPLES)).astype(np.float32)
MODELS = [
    dict(durations=(0, 1, 2, 4, 8), predictor_layers=2),
    dict(durations=(1, 2, 3), num_mel_bins=128, predictor="stateless", predictor_context=3),
    dict(objective="rnnt", durations=(0,), predictor_masking=False, predictor="concat", predictor_context=2),
]


@pytest.fixture(scope="module", params=MODELS, ids=["lstm", "stateless", "rnnt"])
def exported(request, tmp_path_factory):
    """A random model whose decisions vary from frame to frame, with the released model's tokenizer, and its folder."""
    tokenizer = Tokenizer(ROOT / "hainan_k2" / "released")
    torch.manual_seed(0)
    config = ModelConfig.preset("tiny", vocab_size=tokenizer.vocab_size, features="nemo", **request.param)
    model = Hainan(config).eval()
    with torch.no_grad():
        for parameter in (*model.predictor.parameters(), model.joiner.out.weight):
            parameter.copy_(torch.randn(parameter.shape))
        if config.objective == "tdt":
            model.predictor.embed.weight[0] = 0.0
            model.joiner.out.bias[tokenizer.vocab_size :] -= 2.0 * torch.arange(len(config.durations))
        model.joiner.out.bias[0] += 2.0 if config.objective == "tdt" else 7.0
    folder = tmp_path_factory.mktemp("runtimes")
    write_onnx(folder, model, tokenizer, RUNTIMES, SearchConfig().max_symbols)
    return model, tokenizer, folder


@torch.no_grad()
def test_onnx_asr_finds_the_text_of_ar_greedy(exported):
    onnx_asr = pytest.importorskip("onnx_asr")
    model, tokenizer, folder = exported
    features = FeatureSpec.of_model(model.config).compute(SAMPLES)
    (ours,) = ar_greedy(model, *model.encoder(features[None], torch.tensor([len(features)])), SearchConfig())
    kind = f"nemo-conformer-{model.config.objective}"
    runtime = onnx_asr.load_model(kind, folder)
    found = runtime.with_timestamps().recognize(SAMPLES)
    assert found.tokens == [tokenizer.pieces[i].replace("▁", " ") for i in ours.ids] and len(ours.ids) > 10
    np.testing.assert_allclose(found.timestamps, [0.08 * token.frame for token in ours.tokens], atol=1e-6)
    assert len(set(ours.ids)) > 8
    assert model.config.objective == "rnnt" or len({token.duration for token in ours.tokens}) > 1
    int8 = onnx_asr.load_model(kind, folder, quantization="int8")
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


def test_sherpa_onnx_finds_the_tokens_of_ar_greedy_on_its_features(exported):
    pytest.importorskip("sherpa_onnx")
    model, tokenizer, folder = exported
    found, graphs = recognise_by_sherpa(folder, "float32"), OnnxTransducer(folder)
    limit = 5 if model.config.objective == "tdt" else 10  # sherpa-onnx's own
    features = sherpa_features(SAMPLES, model.config.num_mel_bins).numpy()
    ours = graphs.ar_greedy(graphs.encode(features), limit)
    pieces = [tokenizer.pieces[token] for token, _, _ in ours]
    assert [token.replace(" ", "▁") for token in found.tokens] == pieces and len(ours) > 10
    np.testing.assert_allclose(found.timestamps, [0.08 * frame for _, frame, _ in ours], atol=1e-5)
    if model.config.objective == "tdt":
        np.testing.assert_allclose(found.durations, [0.08 * duration for _, _, duration in ours], atol=1e-5)
    assert len(recognise_by_sherpa(folder, "int8").tokens) > 5  # rounding decides which ones a random model finds
