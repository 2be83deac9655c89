"""Methods that need a part which the model lacks are refused by name; encoder-only ones that were not trained warn."""

import pytest

from hainan_k2.config import ModelConfig
from hainan_k2.search import METHODS, choose_methods, choosing

HAINAN = ModelConfig(ctc=False)
UNMASKED = ModelConfig(ctc=False, predictor_masking=False)
RNNT = ModelConfig(objective="rnnt", durations=(0,), ctc=False, predictor_masking=False)
CTC = ModelConfig(objective="ctc", durations=(0,), predictor_masking=False)


@pytest.fixture(autouse=True)
def k2_works(monkeypatch):
    monkeypatch.setattr(choosing, "_why_no_k2", lambda: "")


@pytest.mark.parametrize(
    "config, name, message",
    [
        (HAINAN, "ctc-greedy", "method ctc-greedy needs a CTC head, and this is a TDT model without one: .*ar-greedy"),
        (RNNT, "viterbi", "method viterbi needs an encoder-only joint, and this is an RNN-T without one: .* ar-greedy"),
        (RNNT, "nbest-ar", "method nbest-ar needs an encoder-only joint"),
        (
            CTC,
            "ar-beam",
            "method ar-beam needs a predictor, and this is a CTC model .* by ctc-greedy, ctc-lm, ctc-graph$",
        ),
        (CTC, "nar-greedy", "method nar-greedy needs an encoder-only joint"),
    ],
)
def test_methods_that_a_model_cannot_run(config, name, message):
    with pytest.raises(ValueError, match=message) as error:
        choose_methods([name], model=config)
    assert "\n" not in str(error.value)


def test_all_methods_of_each_kind_of_model():
    free = [name for name, method in METHODS.items() if not method.oracle and not method.needs]
    autoregressive = [name for name in free if METHODS[name].parts == ("predictor",)]
    assert choose_methods(["all"], model=HAINAN) == [name for name in free if name != "ctc-greedy"]
    assert choose_methods(["all"], model=RNNT) == autoregressive and "ar-greedy" in autoregressive
    assert choose_methods(["all"], model=CTC) == ["ctc-greedy"]
    assert "ctc-greedy" in choose_methods(["all"], model=ModelConfig(ctc=True))


def test_an_encoder_only_joint_that_was_never_trained(caplog):
    left = choose_methods(["all"], model=UNMASKED)
    (record,) = caplog.records
    count = len([m for m in METHODS.values() if not m.oracle and not m.needs and "encoder-only" in m.parts])
    assert "viterbi" not in left and "ar-beam" in left
    assert record.getMessage().startswith(f"{count} of {count + len(left)} methods are left out, nar-greedy, sar")
    caplog.clear()
    assert choose_methods(["ar-greedy", "viterbi"], model=UNMASKED) == ["ar-greedy", "viterbi"]
    (record,) = caplog.records
    assert record.getMessage().startswith("viterbi: the encoder-only joint of this model is not trained")


def test_n_best_lists_of_the_ar_lattice_need_the_predictor_alone(caplog):
    assert choose_methods(["nbest", "mbr"], model=RNNT, lattice="ar") == ["nbest", "mbr"]
    assert choose_methods(["nbest"], model=UNMASKED, lattice="ar") == ["nbest"] and not caplog.records
    assert "mbr" in choose_methods(["all"], model=RNNT, lattice="ar")
    for model, name in ((CTC, "nbest"), (RNNT, "viterbi"), (RNNT, "rescore")):
        with pytest.raises(ValueError, match=f"method {name} needs "):
            choose_methods([name], model=model, lattice="ar")
