"""Which methods run: names, `all`, k2 that is missing, resources that are missing or not used."""

import pytest

from hainan_k2.search import METHODS, DecodingResources, check_methods, choose_methods, choosing


@pytest.mark.parametrize(
    "names, message",
    [((), "no method given; there are ar-greedy, "), (("sar", "magic"), "no method 'magic'; there are ")],
)
def test_names_that_are_no_methods(names, message):
    for function in (check_methods, choose_methods):
        with pytest.raises(ValueError, match=message):
            function(names)


@pytest.mark.parametrize("name, flag", [("viterbi-lm", "lm"), ("grammar", "grammar"), ("graph", "graph")])
def test_a_resource_that_is_needed(name, flag, monkeypatch):
    monkeypatch.setattr(choosing, "_why_no_k2", lambda: "")
    with pytest.raises(ValueError, match=f"method {name} needs --{flag}"):
        choose_methods([name])
    assert choose_methods([name], DecodingResources(**{flag: object()})) == [name]


def test_all_methods_that_can_run(monkeypatch, caplog):
    monkeypatch.setattr(choosing, "_why_no_k2", lambda: "")
    resources = DecodingResources(lm=object())
    chosen = choose_methods(["all"], resources)
    assert chosen == [
        m.name for m in METHODS.values() if not m.oracle and set(m.needs) <= {"lm"} and "ctc" not in m.parts
    ]
    unused_by = [name for name in chosen if name not in ("ar-beam", "viterbi-lm", "nbest-lm", "rescore")]
    assert [r.getMessage() for r in caplog.records] == [f"--lm is not used by {', '.join(unused_by)}"]


def test_without_k2(monkeypatch, caplog):
    monkeypatch.setattr(choosing, "_why_no_k2", lambda: "k2 is not installed")
    assert choose_methods(["all"]) == ["ar-greedy", "ar-beam", "nar-greedy", "sar", "viterbi", "sar-viterbi"]
    assert "4 of 10 methods are left out, nbest, nbest-ar, rescore, mbr: k2 is not" in caplog.text
    with pytest.raises(ValueError, match="method mbr needs k2: k2 is not installed"):
        choose_methods(["sar", "mbr"])
