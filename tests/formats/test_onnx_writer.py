"""ONNX folders: what is refused, which files there are, their size, imported models."""

import sys

import pytest
import torch

from hainan_k2.config import ModelConfig
from hainan_k2.formats import onnx_writer
from hainan_k2.formats.model_dir import read_model, write_model
from hainan_k2.formats.nemo import read_nemo
from hainan_k2.formats.onnx_runtimes import RUNTIMES, check_runtimes, token_lines
from hainan_k2.formats.onnx_writer import ENDINGS, write_onnx
from hainan_k2.frontend.audio import read_audio
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.inference.onnx_transducer import OnnxTransducer, compare
from hainan_k2.model.hainan import Hainan
from hainan_k2.search.options import SearchConfig
from tests.formats.small_models import small_model
from tests.toy import ROOT

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(
    "dimensions, runtimes, message",
    [
        (dict(), ["onnx-asr"], "onnx-asr cannot run this model: .* takes Kaldi's filter banks"),
        (dict(encoder="whisper"), ["sherpa-onnx"], "sherpa-onnx cannot run this model: .* takes Whisper's log-mel"),
        (dict(features="sherpa-onnx"), RUNTIMES, "onnx-asr cannot run this model: .* takes those of sherpa-onnx"),
        (dict(features="nemo", nemo_window="hamming"), ["sherpa-onnx"], "this encoder takes hamming and 0.97"),
        (dict(features="nemo", nemo_preemphasis=0.9), ["onnx-asr"], "this encoder takes hann and 0.9"),
        (dict(features="nemo", num_mel_bins=64), ["onnx-asr"], "80 or 128 mel bins, and this encoder takes 64"),
        (dict(features="nemo", nemo_normalise=False), ["onnx-asr"], "takes them as they are"),
    ],
)
def test_a_model_that_a_runtime_cannot_run_is_refused(tokenizer, tmp_path, dimensions, runtimes, message):
    with pytest.raises(ValueError, match=message) as error:
        write_onnx(tmp_path / "out", small_model(tokenizer.vocab_size, **dimensions), tokenizer, runtimes, 10)
    assert "\n" not in str(error.value) and "--runtime none" in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("piece", ["", "a b", "a\n"])
def test_a_token_that_ends_its_line_is_refused(piece):
    with pytest.raises(ValueError, match="a line of tokens.txt cannot hold it"):
        token_lines(["<blk>", "<unk>", piece])


def test_a_ctc_model_is_refused(tokenizer, tmp_path):
    model = small_model(tokenizer.vocab_size, objective="ctc", durations=(0,), predictor_masking=False)
    with pytest.raises(ValueError, match="nothing but a CTC head"):
        write_onnx(tmp_path, model, tokenizer, (), 10)


@pytest.mark.parametrize(
    "features, runtimes, approximated",
    [("nemo", RUNTIMES, True), ("nemo", ["onnx-asr"], False), ("sherpa-onnx", ["sherpa-onnx"], False)],
)
def test_features_that_a_runtime_approximates_are_logged(tokenizer, features, runtimes, approximated, caplog):
    check_runtimes(runtimes, small_model(tokenizer.vocab_size, features=features))
    expected = ["sherpa-onnx approximates NeMo's features (Povey window, mel filters up to 7600 Hz"] * approximated
    assert [message[: len(expected[0])] for message in caplog.messages] == expected


def test_the_refusal_names_the_runtime_that_is_able(tokenizer):
    with pytest.raises(ValueError, match="--runtime sherpa-onnx or --runtime none .* writes the graphs$"):
        check_runtimes(RUNTIMES, small_model(tokenizer.vocab_size, features="sherpa-onnx"))


def test_sherpa_onnx_takes_any_number_of_bins_and_features_that_are_not_normalised(tokenizer):
    for dimensions in (dict(num_mel_bins=64), dict(nemo_normalise=False)):
        check_runtimes(["sherpa-onnx"], small_model(tokenizer.vocab_size, features="nemo", **dimensions))


def test_without_the_packages_the_error_says_what_to_install(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"pip install 'hainan_k2\[onnx\]'") as error:
        write_onnx(tmp_path / "out", small_model(tokenizer.vocab_size), tokenizer, (), 10)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name, runtimes", [("nemo_tdt_tiny.nemo", RUNTIMES), ("nemo_rnnt.nemo", ()), ("nemo_hybrid.nemo", ())]
)
def test_imported_models(name, runtimes, tmp_path):
    with read_nemo(ROOT / "tests" / "data" / name) as imported:
        imported.write(tmp_path / "model", "float32")
    model, tokenizer, _ = read_model(tmp_path / "model")
    write_onnx(tmp_path / "onnx", model, tokenizer, runtimes, 10)
    features = FeatureSpec.of_model(model.config).compute(read_audio(ROOT / "tests" / "data" / "jfk.flac")[:64000])
    compared = compare(model, OnnxTransducer(tmp_path / "onnx"), features, SearchConfig())
    assert compared.equal == {"ar-greedy": True} and compared.differences["encoder frames"] < 1e-3
    assert compared.tokens > 5


def test_another_export_leaves_nothing_of_the_first(tokenizer, tmp_path):
    model = small_model(tokenizer.vocab_size, features="nemo")
    write_onnx(tmp_path, model, tokenizer, RUNTIMES, 10)
    (tmp_path / "mine.txt").write_text("kept")
    imported = small_model(tokenizer.vocab_size, features="nemo", predictor_masking=False)
    names = write_onnx(tmp_path, imported, tokenizer, (), 10)
    wanted = {f"{name}.{ending}" for name in names for ending in ENDINGS.values()} | {"tokens.txt", "mine.txt"}
    assert {path.name for path in tmp_path.iterdir()} == wanted and "nar" not in names


def test_a_model_directory_is_not_written_over(tokenizer, tmp_path):
    model = small_model(tokenizer.vocab_size)
    write_model(tmp_path, model, tokenizer, "float32", {})
    with pytest.raises(ValueError, match="is a model directory"):
        write_onnx(tmp_path, model, tokenizer, (), 10)
    assert read_model(tmp_path)[1].pieces == tokenizer.pieces


def test_int8_is_a_third_of_the_size_and_near(tokenizer, tmp_path):
    torch.manual_seed(0)
    model = Hainan(ModelConfig.preset("XS", vocab_size=tokenizer.vocab_size, num_layers=2)).eval()
    for name in write_onnx(tmp_path, model, tokenizer, (), 10):
        whole, small = ((tmp_path / f"{name}.{ending}").stat().st_size for ending in ENDINGS.values())
        assert name == "joiner" or small <= whole / 3, name  # a vocabulary of ten tokens has hardly any weights
    features = torch.randn(300, 80)
    for precision, limit in (("float32", 1e-4), ("int8", 0.2)):
        compared = compare(model, OnnxTransducer(tmp_path, precision), features, SearchConfig())
        assert 0 < max(compared.differences.values()) < limit
        assert precision == "int8" or all(compared.equal.values())


def test_weights_too_large_for_one_file_are_beside_their_graph(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_writer, "LARGEST", 1000)
    model = small_model(tokenizer.vocab_size, features="nemo", d_model=16)
    write_onnx(tmp_path, model, tokenizer, RUNTIMES, 10)
    data, graph = ((tmp_path / name).stat() for name in ("encoder.onnx.data", "encoder.onnx"))
    assert data.st_size > 1000 and data.st_mode == graph.st_mode
    compared = compare(model, OnnxTransducer(tmp_path), torch.randn(90, 80), SearchConfig())
    assert all(compared.equal.values()) and max(compared.differences.values()) < 1e-4
    linked = onnxruntime.InferenceSession(str(tmp_path / "encoder-model.onnx"))
    assert [output.name for output in linked.get_outputs()] == ["outputs", "encoded_lengths"]
