"""Ranks of one machine: batch norms in step, agreement on results and errors, groups of batches."""

import math
import os
from functools import partial

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.config import ModelConfig
from hainan_k2.data.batch import Batch
from hainan_k2.data.batches import TooManyUnreadable
from hainan_k2.model.hainan import Hainan
from hainan_k2.model.norm import MaskedBatchNorm
from hainan_k2.stopwatch import Stopwatch
from hainan_k2.training.groups import read_groups
from hainan_k2.training.objective import LossConfig
from hainan_k2.training.optim import OptimConfig, make_optimizer
from hainan_k2.training.progress import TrainingProgress
from hainan_k2.training.ranks import Ranks, lost_a_rank
from hainan_k2.training.updater import Updater


def in_ranks(size, work, folder):
    """The result of `work(ranks)` in each of `size` processes."""
    torch.multiprocessing.spawn(_of_rank, (size, work, str(folder)), nprocs=size)
    return [torch.load(folder / f"{rank}.pt", **TRUSTED) for rank in range(size)]


TRUSTED = {} if torch.__version__.startswith("1.") else {"weights_only": False}


def _of_rank(rank, size, work, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=size)
    ranks = Ranks(rank, size)
    torch.save(work(ranks), os.path.join(folder, f"{rank}.pt"))
    ranks.close()


def norm_step(cases, ranks):
    """For every case, the output, the gradients and the statistics of a batch norm on the rank's utterances."""
    results = []
    for x, lens in cases:
        torch.manual_seed(0)
        norm = MaskedBatchNorm(x.shape[1]).double()
        torch.nn.init.normal_(norm.weight)
        model = torch.nn.Sequential(norm)
        ranks.share_statistics(model)
        own = slice(ranks.rank, None, ranks.size)
        part = x[own].clone().requires_grad_()
        padding = torch.arange(x.shape[2]) >= lens[own][:, None]
        out = norm(part, padding)
        # A sum that weights every value differently; ranks see only their part of it.
        weights = torch.arange(x.numel(), dtype=x.dtype).view_as(x).sin()[own]
        (out * weights).masked_fill(padding[:, None], 0.0).sum().backward()
        grads = torch.stack([norm.weight.grad, norm.bias.grad])
        results.append((out.detach(), part.grad, grads, norm.running_mean, norm.running_var))
    return results


def batches_for_norm(seed, size):
    rng = torch.Generator().manual_seed(seed)
    count, channels, frames = size * int(torch.randint(1, 4, (), generator=rng)), 3, 7
    x = torch.randn(count, channels, frames, dtype=torch.float64, generator=rng) * 3 + 5
    return x, torch.randint(1, frames + 1, (count,), generator=rng)


def test_batch_norms_of_ranks_are_one_batch_norm_of_all_utterances(tmp_path):
    cases = [batches_for_norm(seed, 3) for seed in range(5)]
    whole = norm_step(cases, Ranks())
    parts = in_ranks(3, partial(norm_step, cases), tmp_path)
    for case, (out, grad, grads, mean, variance) in enumerate(whole):
        for rank in range(3):
            own_out, own_grad, _, own_mean, own_variance = parts[rank][case]
            torch.testing.assert_close(own_out, out[rank::3])
            torch.testing.assert_close(own_grad, grad[rank::3])
            torch.testing.assert_close(own_mean, mean)
            torch.testing.assert_close(own_variance, variance)
        torch.testing.assert_close(sum(parts[rank][case][2] for rank in range(3)), grads)


def disagree(ranks):
    """What each rank sees of results, and of errors of one rank."""

    def fails(kind):
        if ranks.rank == 1:
            raise kind("of its own")

    seen = [ranks.agreed(lambda: ranks.rank * 10)]
    for kind in (ValueError, OSError, TooManyUnreadable, KeyboardInterrupt):
        try:
            ranks.agreed(partial(fails, kind))
        except BaseException as error:
            seen.append((type(error).__name__, str(error)))
    try:
        ranks.agreed(lambda: b"\xff".decode() if ranks.rank == 1 else "")
    except ValueError as error:
        seen.append((type(error).__name__, str(error)))
    return [*seen, ranks.agreed(lambda: "still in step")]


def test_an_error_of_one_rank_is_raised_in_all(tmp_path):
    first, second = in_ranks(2, disagree, tmp_path)
    names = ["ValueError", "OSError", "TooManyUnreadable", "KeyboardInterrupt"]
    decoding = "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
    own = [*((name, "of its own") for name in names), ("UnicodeDecodeError", decoding)]
    other = [*((name, "rank 1: of its own") for name in names), ("ValueError", f"rank 1: {decoding}")]
    assert second == [[0, 10], *own, ["still in step"] * 2]
    assert first == [[0, 10], *other, ["still in step"] * 2]


def three_updates(ranks):
    """The results of three updates, of which the features of rank 1 are not finite in the second; weights and skips."""
    torch.manual_seed(0)
    model = Hainan(ModelConfig.preset("tiny", vocab_size=9))
    optimizer, progress = make_optimizer(model, OptimConfig()), TrainingProgress()
    updater = Updater(model, optimizer, LossConfig(), 5.0, "float32", 1, ranks, Stopwatch())
    updater.share_gradients()
    torch.manual_seed(ranks.rank)
    results = []
    for number in range(3):
        lens, target_lens = torch.tensor([80, 64]), torch.tensor([3, 2])
        features = torch.randn(2, 80, 80) * (math.nan if (number, ranks.rank) == (1, 1) else 1.0)
        targets = torch.randint(1, 9, (2, 3))
        batch = Batch(features, lens, (f"a{ranks.rank}", "b"), ("", ""), (0.8, 0.6), targets, target_lens)
        group = [batch, batch] if number == 1 else [batch]  # the first of two batches is summed later
        results.append(updater.update(group, 5 * len(group) * ranks.size, progress))
        progress.updates += results[-1] is not None
    return results, [p.detach() for p in model.parameters()], progress.skipped


def test_a_loss_that_is_not_finite_in_one_rank_skips_the_update_of_all(tmp_path):
    (first, weights, skipped), (second, others, skipped_too) = in_ranks(2, three_updates, tmp_path)
    assert skipped == skipped_too == 1 and first[1] is second[1] is None
    assert first == second and all(math.isfinite(first[i][name]) for i in (0, 2) for name in ("loss", "grad_norm"))
    assert all(torch.equal(ours, theirs) and torch.isfinite(ours).all() for ours, theirs in zip(weights, others))


def updates_from_states(ranks):
    """The results of three updates from stored states of a Whisper encoder, which is not frozen."""
    torch.manual_seed(0)
    sizes = {"encoder": "whisper", "whisper_dim": 8, "whisper_layers": 1, "whisper_heads": 2}
    model = Hainan(ModelConfig.preset("tiny", vocab_size=9, **sizes))
    optimizer, progress = make_optimizer(model, OptimConfig(), model.pretrained), TrainingProgress()
    updater = Updater(model, optimizer, LossConfig(), 5.0, "float32", 1, ranks, Stopwatch())
    updater.share_gradients()
    targets, lens = torch.tensor([[1, 2, 3]]), torch.tensor([40])
    batch = Batch(torch.randn(1, 40, 8), lens, ("a",), ("",), (0.8,), targets, torch.tensor([3]))
    return [updater.update([batch], 3 * ranks.size, progress) for _ in range(3)]


def test_ranks_train_on_stored_states(tmp_path):
    """Nothing reaches the encoder whose states are stored, so it gets no gradient."""
    first, second = in_ranks(2, updates_from_states, tmp_path)
    assert first == second and all(math.isfinite(values["loss"]) for values in first)


def test_one_process_agrees_with_itself():
    assert Ranks().agreed(lambda: 3) == [3] and Ranks().main
    with pytest.raises(OSError, match="as it is"):
        Ranks().agreed(partial(_raise, OSError("as it is")))


def _raise(error):
    raise error


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")  # as a job scheduler sets it
    monkeypatch.delenv("RANK", raising=False)
    assert Ranks.of_environment("cpu").size == 1


def test_errors_of_lost_ranks_are_told_from_others():
    assert lost_a_rank(RuntimeError("[../gloo/transport/tcp/pair.cc:598] Connection closed by peer [127.0.0.1]:19"))
    assert not lost_a_rank(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def batch_of(labels):
    """A batch of one utterance with so many labels, of as many seconds; of no utterance for None."""
    count = 0 if labels is None else 1
    lens = torch.tensor([labels][:count], dtype=torch.int64)
    empty = torch.zeros(count, 0, 1)
    return Batch(empty, lens, ("utt",) * count, ("",) * count, (float(labels or 0),) * count, None, lens)


class Others(Ranks):
    """Rank 0 beside ranks whose answers are given in advance: for every call a list of sizes of each."""

    def __init__(self, batches):
        super().__init__()
        self.answers = batches

    def agreed(self, work):
        own = work()
        return [own, *([(len(b.ids), int(b.target_lens.sum()), sum(b.seconds)) for b in self.answers.pop(0)],)]


COUNTS = st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=7)


@given(COUNTS, st.integers(1, 4))
@settings(deadline=None)
def test_groups_hold_every_batch_that_can_be_read_once(counts, size):
    groups = list(read_groups([batch_of(n) for n in counts], size, Ranks(), Stopwatch()))
    assert [group.read for group in groups] == [len(counts[i : i + size]) for i in range(0, len(counts), size)]
    usable = [[n for n in counts[i : i + size] if n is not None] for i in range(0, len(counts), size)]
    assert [[int(b.target_lens.sum()) for b in group.batches] for group in groups] == usable
    assert [group.labels for group in groups] == [sum(listed) for listed in usable]
    assert [group.seconds for group in groups] == [float(sum(listed)) for listed in usable]


def test_a_batch_without_a_partner_is_left_out():
    own, other = [batch_of(n) for n in (3, 4, 5)], [[batch_of(1), batch_of(None)], [batch_of(2)], []]
    groups = list(read_groups(own, 2, Others(other), Stopwatch()))
    assert [(len(g.batches), g.labels, g.seconds, g.read) for g in groups] == [(1, 4, 4.0, 2), (1, 7, 7.0, 1)]


def test_an_interrupt_ends_all_ranks_between_updates():
    interrupts = []
    groups = read_groups([batch_of(1)] * 3, 1, Ranks(), Stopwatch(), interrupts)
    next(groups)
    interrupts.append(2)
    with pytest.raises(KeyboardInterrupt):
        next(groups)


@given(st.integers(0, 200), st.integers(1, 9), st.integers(1, 9))
def test_another_number_of_ranks_repeats_less_than_a_batch_of_each(batch, before, now):
    progress = TrainingProgress(batch=batch, ranks=before)
    progress.share_over(now)
    assert progress.ranks == now and 0 <= batch * before - progress.batch * now < now


def test_old_checkpoints_are_of_one_rank():
    assert TrainingProgress.from_dict({"epoch": 2, "heard": 1.0}).ranks == 1
    assert math.isclose(TrainingProgress.from_dict({"heard": 1.5}).audio_seconds, 1.5)
