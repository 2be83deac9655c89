"""The random models whose figures recipes/RESULTS-import.md has, at their smallest size: written, imported, decoded."""

import numpy as np
import torch

from hainan_k2 import Hainan, ModelConfig, Recognizer
from hainan_k2.import_model import main
from tests.formats.random_nemo import write_nemo


def test_a_random_model_is_imported_with_its_own_weights(tmp_path, capsys):
    torch.manual_seed(0)
    model = Hainan(
        ModelConfig.preset("tiny", vocab_size=1025, features="nemo", num_mel_bins=128, bias=False, ctc=False)
    )
    write_nemo(tmp_path / "a.nemo", model)
    main([str(tmp_path / "a.nemo"), "--out", str(tmp_path / "m")])
    assert "decoded by ar-greedy, ar-beam" in capsys.readouterr().out
    recognizer = Recognizer.load(tmp_path / "m", device="cpu")
    ours, theirs = model.state_dict(), recognizer.model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert recognizer.tokenizer.pieces[:3] == ["<blk>", "<unk>", "a"] and len(recognizer.tokenizer.pieces) == 1025
    samples = np.random.default_rng(0).normal(size=16000).astype(np.float32)
    (hypothesis,) = recognizer.transcribe([samples])
    assert hypothesis.num_frames == 13


def test_out_is_not_overwritten(tmp_path, capsys):
    import pytest

    write_nemo(tmp_path / "a.nemo", Hainan(ModelConfig.preset("tiny", vocab_size=30, features="nemo", ctc=False)))
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "x").write_text("mine")
    for arguments, message in (
        ([str(tmp_path / "a.nemo"), "--out", str(tmp_path / "m")], f"{tmp_path / 'm'} exists already"),
        ([str(tmp_path / "a.nemo")], "--out is required"),
        (["--out", "x"], "name one model"),
        ([str(tmp_path / "b.nemo"), "--out", str(tmp_path / "n")], "b.nemo: No such file"),
        ([str(tmp_path / "m"), "--out", str(tmp_path / "n")], "holds no file model_config.yaml"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        line = capsys.readouterr().err
        assert stopped.value.code == 2 and message in line and line.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nemo", "m"] and (tmp_path / "m" / "x").is_file()
