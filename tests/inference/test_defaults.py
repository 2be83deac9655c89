"""What a recogniser does where nothing is said: the model directory's method, options, language model, calibration."""

import pytest
import soundfile

from hainan_k2.bench.decode import random_model
from hainan_k2.confidence import Calibration
from hainan_k2.formats.model_dir import write_model
from hainan_k2.fsa.language.lm_file import write_lm
from hainan_k2.fsa.language.ngram import NgramLm
from hainan_k2.inference.recognizer import Recognizer
from hainan_k2.search import DecodingResources, choosing
from hainan_k2.search.settings import Decoding, Setting
from hainan_k2.text.tokenizer import Tokenizer
from tests.data.corpus import babble
from tests.inference.test_recognizer import call
from tests.oracles.lm import arpa_of
from tests.toy import make_lang

CALIBRATION = Calibration(0.5, 0.7, -1.0)
STORED = Decoding(
    (Setting("ar-beam", ("lm",), {"beam": 2}, CALIBRATION), Setting("nar-greedy", (), {}, CALIBRATION)),
    ("rescore", "ar-beam"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model directory with a unigram model, and without: m and bare."""
    folder = tmp_path_factory.mktemp("talker")
    tokenizer = Tokenizer(make_lang(folder))
    words = [*tokenizer.pieces[1:], "</s>"]
    arpa = arpa_of({(word,): 1 / len(words) for word in words}).write(folder / "lm.arpa")
    model, lm = random_model("tiny", tokenizer.vocab_size, seed=1), NgramLm.read(arpa, tokenizer.pieces)
    write_model(folder / "m", model, tokenizer, "float16", {}, decoding=STORED, lm=lm)
    write_model(folder / "bare", model, tokenizer, "float16", {})
    write_lm(folder / "other.safetensors", lm, tokenizer.pieces)
    return folder


@pytest.fixture(scope="module")
def recognizer(folder):
    return Recognizer.load(folder / "m", device="cpu")


def test_the_first_method_that_can_run(recognizer, folder, monkeypatch):
    monkeypatch.setattr(choosing, "_why_no_k2", lambda: "")
    assert recognizer.defaults.method() == "rescore"
    monkeypatch.setattr(choosing, "_why_no_k2", lambda: "k2 is not installed")
    assert recognizer.defaults.method() == "ar-beam"
    assert Recognizer.load(folder / "bare", device="cpu").defaults.method() == "ar-greedy"


def test_a_method_that_takes_what_is_given_comes_first(recognizer, monkeypatch):
    monkeypatch.setattr(choosing, "_why_no_k2", lambda: "")
    assert recognizer.defaults.method(DecodingResources(graph=object())) == "ar-beam"
    assert recognizer.defaults.method(DecodingResources(hotwords=object())) == "rescore"


def test_the_language_model_of_the_directory_is_used_where_none_is_named(recognizer, folder):
    def loaded(method, **files):
        row, resources = recognizer.defaults.search(method, recognizer.resources(**files))
        return row, resources.lm, resources.given()

    row, lm, given = loaded("ar-beam")
    assert lm is not None and given == ("lm",) and row.options.beam == 2 and row.calibration == CALIBRATION
    assert loaded("viterbi-lm")[1] is lm, "it is read once"
    row, none, given = loaded("ar-beam", lm="none")
    assert none is None and given == () and row.options.beam == 4 and row.calibration is None
    assert loaded("nar-greedy")[1] is None
    assert loaded("ar-beam", lm=str(folder / "other.safetensors"))[1] is not lm
    with pytest.raises(ValueError, match="viterbi-lm needs --lm"):
        loaded("viterbi-lm", lm="none")


def test_nobody_is_warned_of_a_language_model_that_was_not_asked_for(recognizer, caplog):
    resources = recognizer.defaults.with_own_lm(recognizer.resources(), ["ar-greedy", "ar-beam"])
    choosing.choose_methods(["ar-greedy", "ar-beam"], resources)
    assert resources.lm is not None and not caplog.records


def test_a_graph_or_a_grammar_stands_in_place_of_it(recognizer):
    for name in ("graph", "grammar"):
        resources = DecodingResources(**{name: object()})
        assert recognizer.defaults.with_own_lm(resources, ["ar-beam"]).lm is None


def test_confidences_are_calibrated_where_they_are_stored(recognizer, folder):
    bare, audio = Recognizer.load(folder / "bare", device="cpu"), [babble(16000, seed=3)]
    (raw,), (found,) = (one.transcribe(audio, "nar-greedy") for one in (bare, recognizer))
    assert raw.text == found.text and raw.words
    assert [w.confidence for w in found.words] == pytest.approx([CALIBRATION(w.confidence) for w in raw.words])
    assert found.tokens == raw.tokens
    (same,), (other,) = (one.transcribe(audio, "ar-greedy") for one in (bare, recognizer))
    assert same == other

    def streamed(one):
        return [w for update in one.transcribe_stream(audio, "nar-greedy") for w in update.words]

    before, after = streamed(bare), streamed(recognizer)
    assert [w.confidence for w in after] == pytest.approx([CALIBRATION(w.confidence) for w in before]) and before
    assert [w.text for w in after] == [w.text for w in before]


def test_without_a_method_the_default_one_decodes(recognizer, monkeypatch):
    monkeypatch.setattr(choosing, "_why_no_k2", lambda: "k2 is not installed")
    audio = [babble(16000, seed=3)]
    assert recognizer.transcribe(audio) == recognizer.transcribe(audio, "ar-beam")


def test_the_command_names_the_default_that_it_takes(folder, tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setattr(choosing, "_why_no_k2", lambda: "k2 is not installed")
    soundfile.write(tmp_path / "a.wav", babble(16000, seed=3), 16000)
    common = ("--model", folder / "m", tmp_path / "a.wav")

    def printed(*options):
        caplog.set_level("INFO")
        caplog.clear()
        assert call(*common, *options) == 0
        return capsys.readouterr().out

    default = printed()
    assert f"decoding by ar-beam, the default of {folder / 'm'}, with lm" in caplog.text
    assert printed("--method", "ar-beam") == default and "the default" not in caplog.text
    assert printed("--method", "ar-beam", "--lm", folder / "other.safetensors") == default
    bare = printed("--lm", "none")
    assert "decoding by ar-beam" in caplog.text and "with no language model" in caplog.text
    assert printed("--method", "ar-beam", "--lm", "none") == bare
    assert call(*common, "--method", "viterbi-lm", "--lm", "none") == 2
    assert "method viterbi-lm needs --lm" in capsys.readouterr().err
