"""The ONNX graphs in onnxruntime against the PyTorch model that they were made of."""

import functools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.formats.onnx_runtimes import RUNTIMES
from hainan_k2.formats.onnx_writer import ENDINGS, write_onnx
from hainan_k2.inference.onnx_transducer import OnnxTransducer, emissions
from hainan_k2.search.greedy import ar_greedy, nar_greedy
from hainan_k2.search.options import SearchConfig
from tests.formats.small_models import small_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

MODELS = {
    "lstm": dict(features="nemo", durations=tuple(range(9))),
    "two layers": dict(features="nemo", predictor_layers=2, durations=(0, 1, 2, 4, 8)),
    "two labels": dict(features="nemo", predictor="stateless", durations=tuple(range(1, 9))),
    "three labels": dict(predictor="stateless", predictor_context=3, bias=False, xscaling=True, durations=(0, 2)),
    "one label": dict(predictor="stateless", predictor_context=1, norm_out=False, num_layers=2),
    "whisper": dict(encoder="whisper"),
    "local attention": dict(
        features="nemo", attention_context=(3, 3), joiner_activation="tanh", predictor_masking=False
    ),
    "limited attention": dict(features="nemo", attention_context=(4, -1), durations=(0, 3)),
    "concat": dict(features="nemo", predictor="concat", predictor_context=2, predictor_norm=True, predictor_dim=8),
    "rnnt": dict(
        features="nemo", objective="rnnt", durations=(0,), predictor_masking=False, joiner_activation="sigmoid"
    ),
}
LENS = st.lists(st.integers(1, 120), min_size=1, max_size=3)


class Exported:
    """A model of MODELS whose decisions vary from frame to frame, and the folder that it is exported to."""

    def __init__(self, kind, tokenizer, folder):
        self.model, self.folder = small_model(tokenizer.vocab_size, **MODELS[kind]), folder
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in (*self.model.predictor.parameters(), *self.model.joiner.parameters()):
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        self.runtimes = RUNTIMES if self.model.config.features == "nemo" else ()
        self.names = write_onnx(folder, self.model, tokenizer, self.runtimes, max_symbols=10)
        self.session = functools.cache(self.session)
        self.transducer = OnnxTransducer(folder)
        self.durations = self.transducer.durations

    def session(self, name, precision="float32"):
        return onnxruntime.InferenceSession(str(self.folder / f"{name}.{ENDINGS[precision]}"))

    def run(self, name, **inputs):
        return self.session(name).run(None, {key: np.asarray(value) for key, value in inputs.items()})

    def features(self, seed, lens):
        """(B, T, F), padded with other values, and lens (B,)."""
        shape = (len(lens), max(lens), self.model.config.num_mel_bins)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed)), torch.tensor(lens)


@pytest.fixture(scope="module", params=MODELS)
def exported(request, tokenizer, tmp_path_factory):
    return Exported(request.param, tokenizer, tmp_path_factory.mktemp("onnx"))


def close(ours, theirs):
    np.testing.assert_allclose(theirs, ours.detach().numpy(), atol=2e-5, rtol=1e-4)


@given(st.integers(0, 99), LENS)
@settings(max_examples=15, deadline=None)
def test_nar_graph_and_encoder_of_padded_batches(exported, seed, lens):
    model, (features, lens) = exported.model, exported.features(seed, lens)
    inputs = {"audio_signal": features.transpose(1, 2), "length": lens}
    frames, encoded_lens = exported.run("encoder", **inputs)
    if exported.transducer.nar is not None:
        tokens, durations, nar_lens = exported.run("nar", **inputs)
        assert (nar_lens == encoded_lens).all() and durations.shape[2] == len(exported.durations)
    for row, length in enumerate(lens):
        encoder_out, (frame_len,) = model.encoder(features[row : row + 1, :length], lens[row : row + 1])  # alone
        projected = model.joiner.project_encoder(encoder_out)[0]
        assert encoded_lens[row] == frame_len
        close(projected.T, frames[row, :, :frame_len])
        if exported.transducer.nar is None:
            continue
        ours = model.joiner.log_probs(projected)
        close(ours[0].roll(-1, 1), tokens[row, :frame_len])
        for index, duration in enumerate(exported.durations):
            if duration in model.durations:
                close(ours[1][:, model.durations.index(duration)], durations[row, :frame_len, index])
            else:
                assert (durations[row, :frame_len, index] < -1e8).all()


@given(st.integers(0, 99), st.integers(1, 3), st.integers(0, 6))
@settings(max_examples=15, deadline=None)
def test_decoder_label_by_label_is_the_predictor(exported, seed, batch, count):
    model = exported.model
    labels = torch.randint(1, model.vocab_size, (batch, count), generator=torch.Generator().manual_seed(seed))
    ours = model.joiner.project_predictor(model.predictor(labels))
    layers, _, width = exported.transducer.state_shape
    state = [np.zeros((layers, batch, width), np.float32)] * 2
    targets = torch.nn.functional.pad(labels - 1, (1, 0), value=model.vocab_size - 1).int()
    length = np.ones(batch, np.int32)
    for step in range(count + 1):
        out, lens, *state = exported.run(
            "decoder", targets=targets[:, step : step + 1], target_length=length, states_1=state[0], states_2=state[1]
        )
        close(ours[:, step], out[:, :, 0])
        assert (lens == length).all()
    state = [np.zeros((layers, batch, width), np.float32)] * 2
    together, *_ = exported.run("decoder", targets=targets, target_length=length, states_1=state[0], states_2=state[1])
    close(ours.transpose(1, 2), together)


def test_the_joiner_with_zeros_is_the_joint_without_predictor(exported):
    model, (features, lens) = exported.model, exported.features(0, [50])
    frames, _ = exported.run("encoder", audio_signal=features.transpose(1, 2), length=lens)
    zeros = np.zeros((1, model.config.joiner_dim, 1), np.float32)
    logits = exported.run("joiner", encoder_outputs=frames, decoder_outputs=zeros)[0][0, :, 0]
    ours = model.joiner.logits(model.joiner.project_encoder(model.encoder(features, lens)[0]))[0]
    close(ours[:, : model.vocab_size].roll(-1, 1), logits[:, : model.vocab_size])
    if not exported.durations:
        assert model.config.objective == "rnnt" and logits.shape[1] == model.vocab_size
        return
    scores = torch.from_numpy(logits[:, model.vocab_size :]).log_softmax(1)
    present = [exported.durations.index(duration) for duration in model.durations]
    close(ours[:, model.vocab_size :].log_softmax(1), scores[:, present])


@given(st.integers(0, 10**6), st.integers(1, 200), st.sampled_from([1, 3, 10]))
@settings(max_examples=40, deadline=None, derandomize=True)  # rounding may decide between nearly equal scores
def test_greedy_searches_find_the_tokens_frames_and_durations_of_pytorch(exported, seed, length, max_symbols):
    model, (features, lens) = exported.model, exported.features(seed, [length])
    options = SearchConfig(max_symbols=max_symbols)
    with torch.no_grad():
        encoder_out, frame_lens = model.encoder(features, lens)
        (ar,) = ar_greedy(model, encoder_out, frame_lens, options)
    array = features[0].numpy()
    assert exported.transducer.ar_greedy(exported.transducer.encode(array), max_symbols) == emissions(ar)
    if exported.transducer.nar is not None:
        with torch.no_grad():
            (nar,) = nar_greedy(model, encoder_out, frame_lens, options)
        assert exported.transducer.nar_greedy(array) == emissions(nar)


def test_duration_classes(exported):
    own = exported.model.durations
    wanted = list(range(own[-1] + 1)) if exported.runtimes else list(own)
    assert exported.durations == ([] if exported.model.config.objective == "rnnt" else wanted)
    assert ("nar" in exported.names) == exported.model.config.predictor_masking


def test_decoder_and_joiner_in_one_graph(exported):
    if "decoder_joint-model" not in exported.names:
        assert not (exported.folder / "decoder_joint-model.onnx").exists()
        return
    model = exported.model
    layers, _, width = exported.transducer.state_shape
    frames = torch.randn(2, model.config.joiner_dim, 3)
    state = [torch.randn(layers, 2, width).numpy() for _ in range(2)]
    inputs = {"targets": np.array([[0], [2]], np.int32), "target_length": np.ones(2, np.int32)}
    out, *rest = exported.run("decoder", **inputs, states_1=state[0], states_2=state[1])
    logits = exported.run("joiner", encoder_outputs=frames, decoder_outputs=out)[0]
    joint = exported.run(
        "decoder_joint-model", encoder_outputs=frames, **inputs, input_states_1=state[0], input_states_2=state[1]
    )
    for separate, together in zip((logits, *rest), joint):
        np.testing.assert_allclose(together, separate, atol=1e-6)
    names = [output.name for output in exported.session("decoder_joint-model").get_outputs()]
    assert names == ["outputs", "prednet_lengths", "output_states_1", "output_states_2"]


def test_tokens_and_metadata(exported, tokenizer):
    lines = [line.rsplit(" ", 1) for line in (exported.folder / "tokens.txt").read_text().splitlines()]
    assert lines == [[piece, str(i)] for i, piece in enumerate([*tokenizer.pieces[1:], "<blk>"])]
    metadata = exported.session("encoder").get_modelmeta().custom_metadata_map
    layers, _, width = exported.transducer.state_shape
    shape = exported.session("decoder").get_inputs()[2].shape
    assert shape[0] == layers and shape[2] == width
    assert metadata["vocab_size"] == str(tokenizer.vocab_size - 1) and metadata["subsampling_factor"] == "8"
    objective = exported.model.config.objective
    assert metadata["feat_dim"] == "80" and ("tdt" in metadata["url"]) == (objective == "tdt")
    assert metadata["normalize_type"] == ("NA" if exported.model.config.encoder == "whisper" else "per_feature")
    if exported.runtimes:
        assert json.loads((exported.folder / "config.json").read_text()) == {
            "model_type": f"nemo-conformer-{objective}",
            "features_size": 80,
            "subsampling_factor": 8,
            "max_tokens_per_step": 10,
        }
        assert (exported.folder / "vocab.txt").read_text() == (exported.folder / "tokens.txt").read_text()
        for ending in ENDINGS.values():
            assert (exported.folder / f"encoder-model.{ending}").samefile(exported.folder / f"encoder.{ending}")


def test_no_files_but_the_named_ones(exported):
    wanted = {f"{name}.{ending}" for name in exported.names for ending in ENDINGS.values()} | {"tokens.txt"}
    if exported.runtimes:
        wanted |= {"vocab.txt", "config.json", *(f"encoder-model.{ending}" for ending in ENDINGS.values())}
    assert {path.name for path in exported.folder.iterdir()} == wanted
