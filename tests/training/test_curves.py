"""Curves of a training in several steps."""

import json

import pytest

from hainan_k2.training.curves import draw_curves, history, smoothed


def step(folder, updates, epochs=()):
    folder.mkdir()
    (folder / "updates.jsonl").write_text("".join(json.dumps({"update": u, "tdt": 1.0 / u}) + "\n" for u in updates))
    (folder / "epochs.jsonl").write_text(
        "".join(
            json.dumps({"epoch": e, "update": u, "dev_loss": 1.0, "dev_wer": 0.5, "dev_wer_nar": 0.6}) + "\n"
            for e, u in epochs
        )
    )
    return folder


def test_updates_are_numbered_through_all_steps(tmp_path):
    first = step(tmp_path / "a", [1, 2, 3], [(1, 3)])
    stopped, last = step(tmp_path / "b", [1, 2]), step(tmp_path / "c", [1, 2], [(1, 1), (2, 2)])
    updates, epochs, ends = history([first, stopped, last])
    assert [line["update"] for line in updates] == [1, 2, 3, 4, 5, 6, 7] and ends == [3, 5, 7]
    assert [(line["epoch"], line["update"]) for line in epochs] == [(1, 3), (1, 6), (2, 7)]
    assert [line["tdt"] for line in updates[3:5]] == [1.0, 0.5]
    draw_curves([first, stopped, last], tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 10000
    with pytest.raises(ValueError, match="holds no updates.jsonl"):
        history([first, tmp_path])


def test_smoothing_keeps_a_constant_and_follows_a_step():
    assert smoothed([2.0] * 5) == pytest.approx([2.0] * 5)
    assert smoothed([0.0, 1.0], weight=0.5) == pytest.approx([0.0, 2 / 3])
