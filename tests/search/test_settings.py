"""Options that are stored with a model, and which of them a search takes."""

import json
import re

import pytest

from hainan_k2.confidence import Calibration
from hainan_k2.formats.model_dir import NOTHING, read_decoding, store_setting
from hainan_k2.search import METHODS, SearchConfig
from hainan_k2.search.settings import Decoding, Setting
from hainan_k2.search.sweep import SearchGrid, make_rows

GRAPH = Setting("graph", ("graph",), {"token_bonus": 0.0})
TUNED = Setting("ar-beam", ("lm",), {"lm_scale": 0.6, "token_bonus": 2.0})
PLAIN = Setting("ar-beam", (), {"token_bonus": 1.0})
CALIBRATED = Setting("ar-beam", ("lm",), {"lm_scale": 0.6}, Calibration(0.7, 0.9, -0.5))
LISTS = Setting("rescore", (), {"lattice": "ar", "beam": 8})


def options(method, given=(), **chosen):
    grid = SearchGrid(**chosen)
    return [row.options for row in make_rows([method], grid, [TUNED, PLAIN, LISTS, GRAPH], given)]


def test_settings_hold_for_their_resources_alone():
    assert options("ar-beam", ("lm",)) == [SearchConfig(lm_scale=0.6, token_bonus=2.0)]
    assert options("ar-beam") == [SearchConfig(token_bonus=1.0)]
    assert options("ar-beam", ("lm", "hotwords")) == [SearchConfig()]
    assert options("viterbi-lm", ("lm",)) == [METHODS["viterbi-lm"].config()]
    assert options("viterbi", ("lm",)) == [SearchConfig()]
    assert options("rescore") == [SearchConfig(lattice="ar", beam=8)]
    assert options("nbest", ("lm",)) == [SearchConfig()]


def test_they_come_before_the_defaults_of_the_method():
    assert options("graph", ("graph",)) == [METHODS["graph"].config(token_bonus=0.0)]
    assert METHODS["graph"].config() != METHODS["graph"].config(token_bonus=0.0)


def test_options_that_are_given_come_first():
    assert options("ar-beam", ("lm",), lm_scale=(0.3,)) == [SearchConfig(lm_scale=0.3, token_bonus=2.0)]
    assert options("ar-beam", ("lm",), token_bonus=(0.0, 1.0)) == [
        SearchConfig(lm_scale=0.6, token_bonus=0.0),
        SearchConfig(lm_scale=0.6, token_bonus=1.0),
    ]
    assert options("rescore", lattice="nar") == [SearchConfig(beam=8)]


def test_a_resource_that_the_method_does_not_use_changes_nothing():
    assert options("rescore", ("graph", "grammar")) == [SearchConfig(lattice="ar", beam=8)]


def test_they_are_kept_in_a_folder(tmp_path):
    assert read_decoding(tmp_path) == NOTHING
    for setting in (PLAIN, LISTS, TUNED):
        store_setting(tmp_path, setting)
    changed = Setting("ar-beam", ("lm",), {"lm_scale": 0.5})
    store_setting(tmp_path, changed)
    assert read_decoding(tmp_path).settings == (PLAIN, LISTS, changed)
    (tmp_path / "decoding.json").rename(tmp_path / "config.json")
    store_setting(tmp_path, TUNED)
    assert read_decoding(tmp_path).settings == (PLAIN, LISTS, TUNED)


@pytest.mark.parametrize(
    "section, message",
    [
        ([], "version 1"),
        ({"version": 1, "settings": [], "methods": "sar"}, "should be a list of decoding methods"),
        ({"version": 1, "settings": [], "methods": ["best"]}, "should be a list of decoding methods"),
        ({"version": 1, "settings": [], "methods": ["nbest-oracle"]}, "should be a list of decoding methods"),
        (
            {"version": 1, "settings": [{"method": "sar", "resources": [], "options": {}, "calibration": 1}]},
            "calibration 1 should have low, high, offset",
        ),
        ({"version": 2, "settings": []}, "version 1"),
        ({"version": 1, "settings": [5]}, "method, resources and options"),
        ({"version": 1, "settings": [{"method": "best", "resources": [], "options": {}}]}, "no method 'best'"),
        ({"version": 1, "settings": [{"method": "sar", "resources": ["lm"], "options": {}}]}, "not resources of sar"),
        ({"version": 1, "settings": [{"method": "sar", "resources": 3, "options": {}}]}, "3 are not resources of sar"),
        ({"version": 1, "settings": [{"method": "sar", "resources": [], "options": []}]}, "options of sar are []"),
        (
            {"version": 1, "settings": [{"method": "sar", "resources": [], "options": {"beam": 4}}]},
            "sar has no option beam",
        ),
        (
            {"version": 1, "settings": [{"method": "ar-beam", "resources": [], "options": {"beam": 0}}]},
            "beam is 0: it must be at least 1",
        ),
        (
            {"version": 1, "settings": [{"method": "ar-beam", "resources": [], "options": {"guide": "far"}}]},
            "guide is 'far': choose from nar, none",
        ),
    ],
)
def test_a_damaged_section_is_one_line(section, message, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"decoding": section}))
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        read_decoding(tmp_path)
    assert str(tmp_path / "config.json") in str(raised.value) and len(str(raised.value).splitlines()) == 1


def test_a_section_reads_back():
    for decoding in (Decoding((TUNED, LISTS)), Decoding((CALIBRATED,), ("rescore", "ar-beam"))):
        assert Decoding.from_section(json.loads(json.dumps(decoding.as_section()))) == decoding


def test_rows_are_calibrated_where_the_setting_is():
    def calibrations(given):
        return [row.calibration for row in make_rows(["ar-beam", "sar"], None, [CALIBRATED], given)]

    assert calibrations(("lm",)) == [CALIBRATED.calibration, None] and calibrations(()) == [None, None]


def test_weights_that_are_stored_anew_lose_the_calibration_of_the_old_ones():
    decoding = Decoding((CALIBRATED, PLAIN), ("ar-beam",)).with_setting(TUNED)
    assert decoding == Decoding((PLAIN, TUNED), ("ar-beam",))
