"""Tuning on lattices and tuning by decoding find the same weights, where nothing is pruned."""

import pytest
from hypothesis import given, settings

from hainan_k2.search import DecodingResources
from hainan_k2.tuning import tuned
from hainan_k2.tuning.axes import AXES
from tests.oracles.lm import SYMBOLS
from tests.oracles.search import batches
from tests.tuning.test_lattices import WIDE, dev_set

pytest.importorskip("k2")


@settings(max_examples=5, deadline=None)
@given(batch=batches(max_frames=8))
def test_lattices_and_decoding_find_the_same_weights(batch):
    dev = dev_set("viterbi", *batch, DecodingResources(), SYMBOLS, ("a b c", "d", "e"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            tuned, "axes_of", lambda *_: [axis for axis in AXES if axis.name in ("token_bonus", "skip_scale")]
        )
        on_lattices = tuned.tune(dev, WIDE)
        patch.setattr(tuned, "has_lattices", lambda *_: False)
        decoded = tuned.tune(dev, WIDE)
    assert "on lattices" in on_lattices.report()[0] and "decoded" in decoded.report()[0]
    assert on_lattices.options == decoded.options and on_lattices.surface == decoded.surface
    for result in (on_lattices, decoded):
        assert result.after.tolist() == dev.decode([result.options])[0].tolist()
        assert result.before.tolist() == dev.decode([WIDE])[0].tolist()
        assert result.after.sum() <= result.before.sum()
        assert result.values == {name: getattr(result.options, name) for name in ("token_bonus", "skip_scale")}
        assert dev.rate(result.after) == min(map(min, result.surface.rates))
