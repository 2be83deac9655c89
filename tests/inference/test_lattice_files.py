"""The lattices of Recognizer and decode.py: their best paths have the words and times that decode.py writes."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import hainan_k2
from hainan_k2 import decode
from hainan_k2.frontend.audio import read_audio
from hainan_k2.fsa.lattices.store import load_lattice
from hainan_k2.writers import ctm_lines
from tests.fsa.lattices.kaldi_archives import compact_paths, read_archive
from tests.inference.test_agreement import JFK, resources, run, write_cut  # noqa: F401

k2 = pytest.importorskip("k2")

KINDS = {"viterbi": (), "viterbi-lm": ("lm",), "grammar": ("grammar",), "graph": ("graph",)}


@pytest.fixture(scope="module")
def recognizer():
    return hainan_k2.Recognizer.load("released", device="cpu")


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    """The first five seconds of jfk.flac, and a manifest with it."""
    folder = tmp_path_factory.mktemp("audio")
    soundfile.write(folder / "jfk.flac", read_audio(JFK)[: 16000 * 5], 16000)
    write_cut(folder / "jfk.flac", folder / "cuts.jsonl.gz")
    return folder / "jfk.flac"


def decoded(audio, folder, method, flags, *more):
    """The lines of decode.py's CTM."""
    common = ["--model", "released", "--cuts", audio.parent / "cuts.jsonl.gz", "--out-dir", folder, "--device", "cpu"]
    assert run(decode.main, *common, "--num-workers", "0", "--method", method, "--write", "ctm", *flags, *more) == 0
    return (folder / f"cuts-{method}.ctm").read_text().splitlines()


@pytest.mark.parametrize("method", KINDS)
def test_times_equal_the_ctm_of_decode(recognizer, audio, resources, tmp_path, method):  # noqa: F811
    files = {flag[2:]: name for flag, name in zip(resources[::2], resources[1::2]) if flag[2:] in KINDS[method]}
    flags = [word for name, file in files.items() for word in (f"--{name}", file)]
    lines = decoded(audio, tmp_path, method, flags, "--lattices", tmp_path / "l.safetensors")
    loaded = recognizer.resources(**files)
    lattice = recognizer.lattice([audio], resources=loaded)
    _, _, lens = recognizer.log_probs([audio])
    best = hainan_k2.shortest_path(lattice)
    words = loaded.graph.words if loaded.graph else None
    hypotheses = hainan_k2.texts_with_times(best, lens, recognizer.tokenizer.pieces, words, lattice)
    calibration = recognizer.defaults.calibration(method, loaded)
    (best_words,) = (calibration.applied(h) if calibration else h for h in hypotheses)
    assert len(lines) > 5 and ctm_lines([("long", best_words)]) == lines
    assert (lattice.aux_labels == lattice.labels).all() == (method != "graph")
    assert hasattr(lattice, "lm_scores") == (method != "viterbi")
    stored, names = load_lattice(tmp_path / "l.safetensors")
    totals = [fsa.get_tot_scores(use_double_scores=True, log_semiring=True) for fsa in (stored, lattice)]
    assert names == ["long"] and torch.allclose(*totals, atol=1e-3)


def test_kaldis_archive_has_the_words_and_their_times(audio, resources, tmp_path):  # noqa: F811
    flags = resources[resources.index("--graph") :][:2]
    lines = decoded(audio, tmp_path, "graph", flags, "--output-beam", "1", "--lattices", tmp_path / "l.ark")
    words = [line.split()[0] for line in open(Path(flags[1]).parent / "words.txt", encoding="utf-8")]
    fsts = read_archive((tmp_path / "l.ark").read_bytes(), compact=True)
    best = min(compact_paths(fsts["long"]), key=lambda path: path[2] + path[3])
    assert [words[i] for i in best[0]] == [line.split()[4] for line in lines]
    starts = [round(float(line.split()[2]) / 0.08) for line in lines]
    assert all(best[1][frame] > 1 for frame in starts) and len(best[1]) == 63  # a token, in all frames of 5 s


def test_lattices_of_the_autoregressive_search(recognizer, audio):
    options = hainan_k2.SearchConfig(lattice="ar")
    lattice = recognizer.lattice([audio], options)
    best = hainan_k2.hypotheses_from_lattice(hainan_k2.shortest_path(lattice), torch.tensor([63]))
    (expected,) = recognizer.transcribe([audio], "ar-beam", options, recognizer.resources(lm="none"))
    assert best[0].score <= expected.score + 1e-3  # ar-beam adds up the alignments of a text
    assert np.isfinite(best[0].score) and len(best[0].ids) > 5


def test_what_decode_refuses(audio, tmp_path, capsys):
    common = ["--model", "released", "--cuts", audio.parent / "cuts.jsonl.gz", "--out-dir", tmp_path]
    lattices = ["--lattices", tmp_path / "l.ark"]
    assert run(decode.main, *common, "--method", "viterbi", "--top-k", "2,4", *lattices) == 2
    assert "--lattices: give every search option one value" in capsys.readouterr().err
    assert not (tmp_path / "l.ark").exists()
