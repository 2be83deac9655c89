"""Cuts and options that no batch can be made of are refused by name."""

from dataclasses import replace

import lhotse
import pytest
from lhotse import CutSet

from hainan_k2.data.config import DataConfig
from hainan_k2.data.datamodule import eval_loader, train_loader
from hainan_k2.data.summary import summarise_cuts
from hainan_k2.frontend.spec import FeatureSpec

CONFIG = DataConfig(max_duration=12.0, num_buckets=4, num_workers=0, min_duration=0.0)


def test_unusable_manifests(tmp_path, folder):
    with pytest.raises(ValueError, match="none.jsonl.gz: no such cut manifest"):
        train_loader(tmp_path / "none.jsonl.gz", CONFIG)
    CutSet.from_cuts([]).to_file(tmp_path / "empty.jsonl.gz")
    with pytest.raises(ValueError, match="no cut is left"):
        train_loader(tmp_path / "empty.jsonl.gz", CONFIG)
    with pytest.raises(ValueError, match=r"outside 50 \.\. 60 s"):
        train_loader(folder / "raw.jsonl.gz", replace(CONFIG, min_duration=50.0, max_cut_duration=60.0))


def drop_text(cut):
    return cut.map_supervisions(lambda s: lhotse.utils.fastcopy(s, text=None))


@pytest.mark.parametrize(
    "change, message",
    [
        (drop_text, "each cut needs one, with its text"),
        (lambda cut: cut.drop_supervisions(), "utt000 has 0 supervisions"),
        (lambda cut: cut.drop_features(), "utt000 has no stored features, unlike the first"),
    ],
)
def test_cuts_that_no_batch_can_be_made_of(folder, change, message):
    cuts = CutSet.from_cuts(
        [
            change(cut) if cut.id == "utt000" else cut
            for cut in reversed(list(CutSet.from_file(folder / "fbank.jsonl.gz")))
        ]
    )
    with pytest.raises(ValueError, match=message):
        summarise_cuts(cuts, CONFIG)
    with pytest.raises(ValueError, match=message):
        list(train_loader(cuts, CONFIG))


def test_features_of_another_kind(folder):
    for spec, wanted in (
        (FeatureSpec(num_bins=40), "hainan-fbank, 40 bins"),
        (FeatureSpec("log-mel"), "hainan-log-mel, 80 bins"),
    ):
        for read in (summarise_cuts, eval_loader):
            with pytest.raises(ValueError, match=f"of type hainan-fbank, 80 bins; this encoder expects {wanted}: give"):
                read(folder / "fbank.jsonl.gz", CONFIG, spec=spec)


@pytest.mark.parametrize(
    "options",
    [
        {"max_duration": 0},
        {"num_buckets": 0},
        {"num_workers": -1},
        {"shuffle_buffer": 0},
        {"min_duration": 31.0},
        {"min_duration": -1.0},
    ],
)
def test_impossible_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        DataConfig(**options)
