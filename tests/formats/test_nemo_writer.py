"""The .nemo archive: what is in it, and that its weights are the model's."""

import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import sentencepiece
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hainan_k2.files.tensors import in_memory
from hainan_k2.files.torch_archive import read_torch_archive
from hainan_k2.formats.model_dir import read_model
from hainan_k2.formats.nemo import read_nemo
from hainan_k2.formats.nemo_writer import write_nemo
from hainan_k2.text.normalise import normalise
from hainan_k2.text.piece_model import PieceModel
from hainan_k2.text.tokenizer import Tokenizer
from tests.formats.small_models import small_model
from tests.toy import ROOT

MODELS = [
    dict(durations=(0, 1, 2, 4, 8), predictor_layers=2, joiner_dropout=0.2),
    dict(num_mel_bins=128, bias=False, xscaling=True, joiner_dropout=0.0, num_layers=2),
    dict(nemo_window="hamming", nemo_preemphasis=0.9, nemo_normalise=False, ffn_factor=2, attention_context=(5, 5)),
    dict(objective="rnnt", durations=(0,), predictor_masking=False, joiner_activation="tanh", attention_context=(5, 0)),
    dict(predictor="concat", predictor_context=2, predictor_norm=True, predictor_masking=False, predictor_dim=8),
]


def members(path):
    with tarfile.open(path, "r:") as archive:
        return {member.name: archive.extractfile(member).read() for member in archive.getmembers()}


@pytest.fixture(scope="module", params=MODELS, ids=str)
def written(request, tokenizer, tmp_path_factory):
    model = small_model(tokenizer.vocab_size, features="nemo", **request.param)
    path = tmp_path_factory.mktemp("nemo") / "new" / "model.nemo"
    write_nemo(path, model, tokenizer)
    return model, path


def test_our_importer_reads_the_same_model(written, tokenizer):
    model, path = written
    with read_nemo(path) as imported:
        unused = {name: getattr(imported.config, name) for name in ("whisper_dim", "whisper_layers", "whisper_heads")}
        assert imported.config == replace(model.config, ctc=False, **unused)
        assert imported.tokenizer.pieces == tokenizer.pieces
        weights = {name: in_memory(value) for name, value in imported.weights.items()}
    state = {
        name: value
        for name, value in model.state_dict().items()
        if not name.startswith(("simple_am", "simple_lm", "ctc"))
    }
    assert weights.keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(weights[name], value), name


@pytest.mark.parametrize("name", ["nemo_tdt_tiny.nemo", "nemo_rnnt.nemo"])
def test_an_imported_model_goes_out_and_comes_in_again(name, tmp_path):
    with read_nemo(ROOT / "tests" / "data" / name) as imported:
        imported.write(tmp_path / "first", "float32")
    model, tokenizer, _ = read_model(tmp_path / "first")
    write_nemo(tmp_path / "again.nemo", model, tokenizer)
    with read_nemo(tmp_path / "again.nemo") as again:
        assert again.config == replace(model.config, dropout=again.config.dropout)
        assert again.tokenizer.pieces == tokenizer.pieces
        assert again.tokenizer.encode("Ask not, WHAT") == tokenizer.encode("Ask not, WHAT")
        for key, value in again.weights.items():
            assert torch.equal(in_memory(value), model.state_dict()[key]), key


def test_configuration(written, tokenizer):
    model, path = written
    config, c = yaml.safe_load(members(path)["./model_config.yaml"]), model.config
    assert config["target"].endswith(".EncDecRNNTBPEModel") and config["joint"]["vocabulary"] == tokenizer.pieces[1:]
    assert config["decoder"]["vocab_size"] == config["joint"]["num_classes"] == tokenizer.vocab_size - 1
    assert config["joint"]["masking_prob"] == (0.5 if c.predictor_masking else -1)
    if c.objective == "rnnt":
        assert config["joint"]["num_extra_outputs"] == 0 and config["loss"] == {"loss_name": "default"}
    else:
        assert config["joint"]["num_extra_outputs"] == len(c.durations)
        durations = [config["decoding"]["durations"], config["loss"]["tdt_kwargs"]["durations"]]
        assert durations == [list(c.durations)] * 2
    encoder, features = config["encoder"], config["preprocessor"]
    assert (encoder["use_bias"], encoder["xscaling"], encoder["ff_expansion_factor"]) == (
        c.bias,
        c.xscaling,
        c.ffn_factor,
    )
    assert (features["features"], features["window"], features["preemph"]) == (
        c.num_mel_bins,
        c.nemo_window,
        c.nemo_preemphasis,
    )
    assert features["normalize"] == ("per_feature" if c.nemo_normalise else "NA") and features["dither"] == 0
    layer = "joint.joint_net.2.weight" if c.joiner_dropout else "joint.joint_net.1.weight"  # as NeMo counts layers
    weights = read_torch_archive(io.BytesIO(members(path)["./model_weights.ckpt"]))
    assert weights[layer].shape == model.joiner.out.weight.shape
    assert weights["preprocessor.featurizer.window"].shape == (400,)
    assert weights["preprocessor.featurizer.fb"].shape == (1, c.num_mel_bins, 257)


def test_tokenizer_files(written, tokenizer):
    files = members(written[1])
    pieces = tokenizer.pieces[1:]
    model = sentencepiece.SentencePieceProcessor(model_proto=files["./tokenizer.model"])
    assert [model.id_to_piece(i) for i in range(model.get_piece_size())] == pieces and model.unk_id() == 0
    assert files["./vocab.txt"].decode().splitlines() == pieces[1:]
    assert [line.split("\t")[0] for line in files["./tokenizer.vocab"].decode().splitlines()] == pieces
    assert set(files) == {
        "./model_config.yaml",
        "./model_weights.ckpt",
        "./tokenizer.model",
        "./tokenizer.vocab",
        "./vocab.txt",
    }


@given(st.text(st.sampled_from("abc hotelfxü,"), max_size=40))
def test_every_id_is_one_less_than_ours(released, text):
    ours, theirs = released
    shifted = [i - 1 for i in ours.encode(text)]
    assert theirs.encode(normalise(text)) == shifted
    assert " ".join(theirs.decode(shifted).split()) == ours.decode(ours.encode(text))


@pytest.fixture(scope="module")
def released():
    tokenizer = Tokenizer(ROOT / "hainan_k2" / "released")
    theirs = PieceModel.read(tokenizer.serialised(), "released").without_blank()
    return tokenizer, sentencepiece.SentencePieceProcessor(model_proto=theirs.write())


@pytest.mark.parametrize(
    "dimensions, message",
    [
        (dict(), "features fbank"),
        (dict(encoder="whisper"), "encoder whisper"),
        (dict(features="nemo", norm_out=False), "without norm_out"),
        (dict(features="nemo", predictor="stateless"), "predictor stateless"),
        (dict(features="nemo", objective="ctc", durations=(0,), predictor_masking=False), "nothing but a CTC head"),
    ],
)
def test_a_model_that_nemo_cannot_represent_is_refused(tokenizer, tmp_path, dimensions, message):
    path = tmp_path / "model.nemo"
    with pytest.raises(ValueError, match=message) as error:
        write_nemo(path, small_model(tokenizer.vocab_size, **dimensions), tokenizer)
    assert "\n" not in str(error.value) and not path.exists()


def test_nemo_restores_the_archive_and_finds_the_same_tokens(tokenizer, tmp_path):
    models = pytest.importorskip("nemo.collections.asr.models", exc_type=ImportError)
    from hainan_k2.frontend.audio import read_audio
    from hainan_k2.frontend.spec import FeatureSpec
    from hainan_k2.search import SearchConfig
    from hainan_k2.search.greedy import ar_greedy

    model = small_model(tokenizer.vocab_size, features="nemo", durations=(0, 1, 2, 4, 8), d_model=16)
    with torch.no_grad():
        for parameter in (*model.predictor.parameters(), *model.joiner.parameters()):
            parameter.copy_(torch.randn(parameter.shape))
        model.predictor.embed.weight[0] = 0.0
    write_nemo(tmp_path / "model.nemo", model, tokenizer)
    theirs = models.ASRModel.restore_from(str(tmp_path / "model.nemo"), map_location="cpu").eval()
    samples = read_audio(ROOT / "tests" / "data" / "jfk.flac")
    with torch.no_grad():
        frames, lens = theirs.forward(
            input_signal=torch.from_numpy(samples)[None], input_signal_length=torch.tensor([len(samples)])
        )
        (found,) = theirs.decoding.rnnt_decoder_predictions_tensor(frames, lens, return_hypotheses=True)
        features = FeatureSpec.of_model(model.config).compute(samples)
        encoded = model.encoder(features[None], torch.tensor([len(features)]))
        (ours,) = ar_greedy(model, *encoded, SearchConfig())
    np.testing.assert_allclose(frames.transpose(1, 2), encoded[0], atol=1e-3)
    assert [int(token) + 1 for token in found.y_sequence] == list(ours.ids) and len(ours.ids) > 5
