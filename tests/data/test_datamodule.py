import pickle
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from lhotse import CutSet

from hainan_k2.data.config import DataConfig, Part
from hainan_k2.data.datamodule import eval_loader, train_loader
from hainan_k2.data.extractors import Fbank
from hainan_k2.data.summary import summarise_cuts
from hainan_k2.frontend.normalise import normalise
from tests.data.corpus import write_cuts

CONFIG = DataConfig(max_duration=12.0, num_buckets=4, num_workers=0, min_duration=0.0)


def same(batches, others) -> bool:
    def plain(batch):
        return {**batch["supervisions"], "inputs": batch["inputs"]}

    return len(batches) == len(others) and all(
        torch.equal(a[key], b[key]) if isinstance(a[key], torch.Tensor) else a[key] == b[key]
        for a, b in zip(map(plain, batches), map(plain, others))
        for key in a
    )


def ids(batches) -> list[str]:
    return [name for batch in batches for name in batch["supervisions"]["cut_id"]]


@pytest.mark.parametrize("kind", ["raw", "fbank"])
def test_batches_hold_normalised_whole_cuts(folder, kind):
    cuts = CutSet.from_file(folder / f"{kind}.jsonl.gz").to_eager()
    batches = list(train_loader(cuts, replace(CONFIG, spec_augment=False)))
    assert sorted(ids(batches)) == sorted(cuts.ids)
    for batch in batches:
        supervisions = batch["supervisions"]
        lens = supervisions["num_frames"].tolist()
        assert lens == sorted(lens, reverse=True) and lens[0] == batch["inputs"].shape[1]
        assert batch["inputs"].dtype == torch.float32
        assert sum(lens) <= 1200 and len(lens) * lens[0] <= 1210  # 12 s with padding
        for row, name, text, length in zip(batch["inputs"], supervisions["cut_id"], supervisions["text"], lens):
            cut = cuts[name]
            assert text == cut.supervisions[0].text
            raw = cut.load_features() if kind == "fbank" else Fbank().extract(cut.load_audio()[0], 16000)
            assert raw.shape[0] == length
            normalised = normalise(torch.from_numpy(raw))  # alone, as in the batch: equal to the last bit
            assert torch.equal(row[:length], normalised) and not row[length:].any()


def test_stored_and_computed_features_agree(folder):
    stored, computed = (list(eval_loader(folder / f"{kind}.jsonl.gz", CONFIG)) for kind in ("fbank", "raw"))
    assert ids(stored) == ids(computed)
    for a, b in zip(stored, computed):
        assert (a["inputs"] - b["inputs"]).abs().max() < 0.05  # lilcom's steps


@pytest.mark.parametrize("kind", ["raw", "fbank"])
@pytest.mark.parametrize("num_workers", [0, 1, 4])
def test_a_resumed_epoch_equals_an_uninterrupted_one(folder, kind, num_workers):
    path = folder / f"{kind}.jsonl.gz"
    whole = list(train_loader(path, CONFIG, seed=5, epoch=3))
    assert len(whole) > 6
    torch.manual_seed(num_workers)  # global random states must not matter
    np.random.seed(num_workers)
    random.seed(num_workers)
    config = replace(CONFIG, num_workers=num_workers)
    for skip in (0, 1, 4, len(whole)):
        loader = train_loader(path, config, seed=5, epoch=3, skip_batches=skip)
        assert same(list(loader), whole[skip:])


def test_global_random_states_are_unchanged(folder):
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    loader = train_loader(folder / "fbank.jsonl.gz", CONFIG)
    for cuts in loader.sampler:
        loader.dataset[cuts]
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]


def test_an_epoch_can_be_iterated_again(folder):
    loader = train_loader(folder / "fbank.jsonl.gz", CONFIG, skip_batches=2)
    assert same(list(loader), list(loader))


def test_epochs_and_seeds_differ(folder):
    path = folder / "fbank.jsonl.gz"
    orders = {
        (seed, epoch): ids(train_loader(path, CONFIG, seed=seed, epoch=epoch))
        for seed, epoch in [(0, 1), (0, 2), (1, 1)]
    }
    assert len({tuple(order) for order in orders.values()}) == 3
    assert len({tuple(sorted(order)) for order in orders.values()}) == 1


def test_masks_differ_between_epochs_but_not_between_batch_sizes(folder):
    path = folder / "fbank.jsonl.gz"

    def features(**options):
        config = replace(CONFIG, **options.pop("config", {}))
        return {
            name: row[:length]
            for batch in train_loader(path, config, **options)
            for row, name, length in zip(
                batch["inputs"], batch["supervisions"]["cut_id"], batch["supervisions"]["num_frames"].tolist()
            )
        }

    first, other_batches = features(), features(config={"max_duration": 5.0, "shuffle": False})
    assert all(torch.equal(first[name], other_batches[name]) for name in first)
    next_epoch = features(epoch=2)
    assert sum(torch.equal(first[name], next_epoch[name]) for name in first) < len(first) / 4


def test_skipping_beyond_the_epoch(folder):
    loader = train_loader(folder / "fbank.jsonl.gz", CONFIG, skip_batches=500)
    with pytest.raises(ValueError, match="cannot go on after batch 500: the epoch has only"):
        list(loader)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_uses_every_cut_in_a_fixed_order(folder, num_workers):
    config = replace(CONFIG, min_duration=1.0, max_cut_duration=1.5, num_workers=num_workers)
    first, again = (list(eval_loader(folder / "fbank.jsonl.gz", config)) for _ in range(2))
    assert same(first, again)
    assert sorted(ids(first)) == sorted(CutSet.from_file(folder / "fbank.jsonl.gz").ids)


def test_sampling_reads_nothing(folder, monkeypatch):
    loader = train_loader(folder / "fbank.jsonl.gz", CONFIG, skip_batches=3)
    monkeypatch.setattr(type(loader.dataset), "__getitem__", None)
    count = sum(1 for _ in loader.sampler)
    monkeypatch.undo()
    assert count == len(list(loader)) > 0


def test_summary_filters_and_reports(folder, caplog):
    path, config = folder / "raw.jsonl.gz", replace(CONFIG, min_duration=0.5, max_cut_duration=2.0)
    cuts = CutSet.from_file(path)
    short = {c.id for c in cuts if c.duration < 0.5}
    long = {c.id for c in cuts if c.duration > 2.0}
    crammed = {c.id for c in cuts if 0.5 <= c.duration <= 2.0 and c.supervisions[0].text == "ECHO"}
    assert short and long and crammed
    summary = summarise_cuts(path, config, lambda frames, text: text != "ECHO")
    assert summary.dropped_ids == short | long | crammed
    assert set(summary.dropped["too few frames for the text"]) == crammed
    kept = [c for c in cuts if c.id not in summary.dropped_ids]
    assert summary.kept == len(kept) and summary.seconds == pytest.approx(sum(c.duration for c in kept))
    assert f"{len(long)} left out, longer than 2 s: " in str(summary)
    with caplog.at_level("INFO"):
        batches = list(train_loader(path, config, exclude=summary.dropped_ids))
    assert sorted(ids(batches)) == sorted(c.id for c in kept)
    assert f"{len(summary.dropped_ids)} of {len(cuts)} cuts left out" in caplog.text


def test_summary_and_batches_agree_on_lengths(folder):
    announced = []
    summarise_cuts(folder / "raw.jsonl.gz", CONFIG, lambda frames, text: announced.append(frames) or True)
    batches = eval_loader(folder / "raw.jsonl.gz", CONFIG)
    assert sorted(announced) == sorted(n for b in batches for n in b["supervisions"]["num_frames"].tolist())


@pytest.mark.parametrize("make", [train_loader, eval_loader])
def test_memory_is_pinned_on_request(folder, make):
    path = folder / "fbank.jsonl.gz"
    assert not make(path, CONFIG).pin_memory and make(path, CONFIG, pin_memory=True).pin_memory


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pinned_batches_are_the_same(folder):
    path = folder / "fbank.jsonl.gz"
    usual, pinned = (list(eval_loader(path, CONFIG, pin_memory=pin)) for pin in (False, True))
    assert same(usual, pinned) and all(batch["inputs"].is_pinned() for batch in pinned)


def test_ranks_share_an_epoch(folder):
    path = folder / "fbank.jsonl.gz"
    alone = ids(train_loader(path, CONFIG))
    shared = [ids(train_loader(path, CONFIG, part=Part(rank, 2))) for rank in (0, 1)]
    assert set(shared[0]) | set(shared[1]) == set(alone)
    assert len(shared[0]) + len(shared[1]) <= len(alone) + 1


@pytest.mark.parametrize("num_buckets", [1, 2, 30])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.filterwarnings("error:Mean of empty slice")
def test_very_small_sets(tmp_path, num_buckets, count):
    cuts = write_cuts(tmp_path, count)
    batches = list(train_loader(cuts, replace(CONFIG, num_buckets=num_buckets)))
    assert sorted(ids(batches)) == sorted(cuts.ids)


def test_a_cut_longer_than_a_batch_is_a_batch(folder):
    batches = list(train_loader(folder / "fbank.jsonl.gz", replace(CONFIG, max_duration=0.2)))
    assert len(batches) == 60


def test_other_sampling_rates_are_resampled(tmp_path):
    (batch,) = eval_loader(write_cuts(tmp_path, 2, rate=11025), CONFIG)
    assert batch["inputs"].shape[2] == 80
    lens = [round(cut.duration * 100) for cut in write_cuts(tmp_path, 2, rate=11025)]
    assert sorted(batch["supervisions"]["num_frames"].tolist()) == pytest.approx(sorted(lens), abs=1)


@pytest.mark.parametrize("kind", ["raw", "fbank"])
def test_noise(folder, tmp_path, kind):
    noise = write_cuts(tmp_path / "noise", 3)
    if kind == "fbank":
        noise = noise.compute_and_store_features(Fbank(), tmp_path / "feats", num_jobs=1, progress_bar=False)
    noise.to_file(tmp_path / "noise.jsonl.gz")
    path = folder / f"{kind}.jsonl.gz"
    config = replace(CONFIG, spec_augment=False, noise_cuts=str(tmp_path / "noise.jsonl.gz"), noise_prob=1.0)
    noisy, clean = list(train_loader(path, config)), list(train_loader(path, replace(config, noise_cuts="")))
    assert ids(noisy) == ids(clean) and not same(noisy, clean)
    assert same(noisy[2:], list(train_loader(path, replace(config, num_workers=2), skip_batches=2)))
    for a, b in zip(noisy, clean):
        assert torch.equal(a["supervisions"]["num_frames"], b["supervisions"]["num_frames"])
        assert torch.isfinite(a["inputs"]).all()


def test_datasets_can_be_sent_to_spawned_workers(folder):
    loader = train_loader(folder / "raw.jsonl.gz", CONFIG)
    cuts = next(iter(loader.sampler))
    again = pickle.loads(pickle.dumps(loader.dataset))
    assert torch.equal(again[cuts]["inputs"], loader.dataset[cuts]["inputs"])
