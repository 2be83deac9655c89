"""Errors of word times against known ones."""

import subprocess
import sys

import numpy as np
import pytest

from hainan_k2.scoring.word_times import compare_times, read_ctm


def test_correct_words_are_compared_and_the_others_counted():
    references = {"a": [("one", 0.0, 0.5), ("two", 0.5, 1.0), ("three", 1.2, 1.5)], "b": [("four", 0.1, 0.4)], "c": []}
    hypotheses = {"a": [("one", 0.1, 0.5), ("too", 0.5, 0.9), ("three", 1.1, 1.7)], "b": [("four", 0.2, 0.4)]}
    errors = compare_times(references, hypotheses)
    np.testing.assert_allclose(errors.starts, [0.1, -0.1, 0.1])
    np.testing.assert_allclose(errors.ends, [0.0, 0.2, 0.0], atol=1e-12)
    assert errors.utterances == 2 and errors.unmatched == 1
    assert "median absolute error 100 ms" in str(errors)


def test_no_correct_word_is_an_error():
    with pytest.raises(ValueError, match="no word"):
        compare_times({"a": [("one", 0, 1)]}, {"a": [("two", 0, 1)]})


def test_command_reads_ctm_and_librispeech_alignments(tmp_path):
    (tmp_path / "1-2.alignment.txt").write_text('1-2-0000 ",TURN,ON," "0.30,0.50,0.90,1.20"\n')
    (tmp_path / "a.ctm").write_text("1-2-0000 1 0.32 0.16 turn 0.99\n1-2-0000 1 0.56 0.40 on 0.9\n")
    command = [sys.executable, "-m", "hainan_k2.scoring.word_times", "--ctm", tmp_path / "a.ctm", "--corpus", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 words of 1 utterances" in done.stdout and "median absolute error 40 ms" in done.stdout


def test_a_line_that_is_not_ctm_is_named(tmp_path):
    (tmp_path / "a.ctm").write_text("u 1 0.0 1.0 word\nu 1 zero 1.0 word\n")
    with pytest.raises(ValueError, match="a.ctm:2"):
        read_ctm(tmp_path / "a.ctm")
