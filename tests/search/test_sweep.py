"""Options with several values: which rows they make, and what is warned of or refused."""

import pytest

from hainan_k2.cli import parse
from hainan_k2.search import METHODS, SearchConfig
from hainan_k2.search.sweep import SearchGrid, make_rows


def chosen(*flags):
    return parse(list(flags), "test", SearchGrid)[0]


def test_one_value_of_everything_makes_a_row_per_method():
    rows = make_rows(["ar-greedy", "nbest-lm", "ar-greedy"], chosen("--lm-scale", "0.7"))
    assert [(r.label, r.method) for r in rows] == [("ar-greedy",) * 2, ("nbest-lm",) * 2]
    assert all(r.options == SearchConfig(lm_scale=0.7) for r in rows)
    assert make_rows(["viterbi"])[0].options == SearchConfig()


def test_a_method_has_defaults_of_its_own_for_what_is_not_given():
    graph, viterbi = make_rows(["graph", "viterbi"], chosen("--lm-scale", "0.3"))
    assert graph.options == SearchConfig(lm_scale=0.3, skip_scale=0.2, token_bonus=2.0)
    assert viterbi.options == SearchConfig(lm_scale=0.3)
    given = make_rows(["graph"], chosen("--token-bonus", "0"))[0].options
    assert given == METHODS["graph"].config(token_bonus=0.0) and given.skip_scale == 0.2
    for method in METHODS.values():
        assert set(method.defaults) <= set(method.options), method.name
        assert method.config() == make_rows([method.name])[0].options


def test_only_methods_that_take_an_option_are_swept_over_it():
    grid = chosen("--lm-scale", "0.1, 0.25", "--top-k", "2,4,2", "--nbest", "3")
    rows = make_rows(["ar-greedy", "viterbi", "nbest-lm"], grid)
    assert [r.label for r in rows] == [
        "ar-greedy",
        "viterbi top_k=2",
        "viterbi top_k=4",
        "nbest-lm top_k=2 lm_scale=0.1",
        "nbest-lm top_k=2 lm_scale=0.25",
        "nbest-lm top_k=4 lm_scale=0.1",
        "nbest-lm top_k=4 lm_scale=0.25",
    ]
    assert rows[4].options == SearchConfig(lm_scale=0.25, top_k=2, nbest=3)
    assert isinstance(rows[4].options.top_k, int)


@pytest.mark.parametrize(
    "flags, warnings",
    [
        (("--lm-scale", "0.3", "--beam", "8"), ["--beam", "--lm-scale"]),  # 0.3 is the default, but it was given
        (("--grammar-fallback",), ["--grammar-fallback"]),
        (("--top-k", "2"), []),
        ((), []),
    ],
)
def test_an_option_that_no_method_takes_is_warned_of(flags, warnings, caplog):
    make_rows(["ar-greedy", "viterbi"], chosen(*flags))
    assert [r.getMessage() for r in caplog.records] == [
        f"{flag} is not used by ar-greedy, viterbi" for flag in warnings
    ]
    assert {r.name for r in caplog.records} <= {"hainan_k2.search.sweep"}


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--lm-scale", "0.1,0.2"), "--lm-scale has 2 values, but ar-greedy, viterbi take no lm_scale"),
        (("--top-k", ","), "--top-k has no value"),
    ],
)
def test_sweeps_that_make_no_sense(flags, message):
    with pytest.raises(ValueError, match=message):
        make_rows(["ar-greedy", "viterbi"], chosen(*flags))


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--lm-scale", "0.1,much"), "lm_scale is 'much'"),
        (("--top-k", "1,0"), "top_k is 0: it must be at least 1"),
        (("--lm-scale", "0.1,nan"), "lm_scale is nan"),
        (("--ar-weight", "0.5,1.5"), "ar_weight is 1.5"),
    ],
)
def test_every_value_of_a_sweep_is_checked(flags, message, capsys):
    with pytest.raises(SystemExit):
        chosen(*flags)
    assert message in capsys.readouterr().err
