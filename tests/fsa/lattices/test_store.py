import re
import shutil
import stat

import pytest
import torch
from hypothesis import given, settings

from hainan_k2 import compose, draw_lattice, hypotheses_from_lattice, load_lattice, nar_lattice, save_lattice
from hainan_k2 import shortest_path as best_of
from hainan_k2.files.container import Kind, read_container, write_container
from hainan_k2.fsa.lattices.draw import DrawnArc, dot_source
from hainan_k2.fsa.lattices.store import KIND
from tests.fsa.lattices.test_nar_lattice import problems, tables

k2 = pytest.importorskip("k2")
kaldifst = pytest.importorskip("kaldifst")


def make(lens=(3, 0, 2), durations=(0, 1, 3)):
    return nar_lattice(*tables(5, lens, 4, durations), torch.tensor(lens), durations)


def totals(lattice):
    return lattice.get_tot_scores(use_double_scores=True, log_semiring=True).tolist()


@settings(max_examples=25, deadline=None)
@given(problems(max_frames=6))
def test_loading_gives_what_was_saved(tmp_path_factory, problem):
    lattice, folder = nar_lattice(*problem), tmp_path_factory.mktemp("lattices")
    save_lattice(lattice, folder / "lattice.safetensors")
    same, names = load_lattice(folder / "lattice.safetensors")
    assert names == [str(i) for i in range(len(problem[2]))]
    assert torch.equal(same.arcs.values(), lattice.arcs.values()) and same.shape == lattice.shape
    for name in ("frame", "duration", "frame_filler", "duration_filler"):
        assert torch.equal(torch.as_tensor(getattr(same, name)), torch.as_tensor(getattr(lattice, name)))
    lens = problem[2]
    assert hypotheses_from_lattice(best_of(same), lens) == hypotheses_from_lattice(best_of(lattice), lens)

    save_lattice(lattice, folder / "lattice.txt")
    same, _ = load_lattice(folder / "lattice.txt")
    assert same.shape == lattice.shape and totals(same) == pytest.approx(totals(lattice), abs=1e-5)
    assert same.labels.tolist() == lattice.labels.tolist()


def test_outputs_are_saved(tmp_path):
    own = k2.Fsa.from_str("0 1 1 7 -0.5\n0 1 2 8 -0.25\n1 2 -1 -1 0\n2\n", acceptor=False)
    composed = compose(make(), own)
    for name in ("l.safetensors", "l.fst.txt"):
        save_lattice(composed, tmp_path / name, ["a", "b", "c"])
        same, names = load_lattice(tmp_path / name)
        assert names == ["a", "b", "c"] and same.shape == composed.shape
        assert sorted(same.aux_labels.tolist()) == sorted(composed.aux_labels.tolist())
        assert totals(same)[::2] == pytest.approx(totals(composed)[::2], abs=1e-5)
        assert same[1].num_arcs == 0  # no frames, no tokens


def test_openfst_reads_the_text(tmp_path):
    lattice = make(lens=(3,))
    save_lattice(lattice, tmp_path / "l.txt", ["utterance"])
    name, text = (tmp_path / "l.txt").read_text().split("\n", 1)
    fst = kaldifst.compile(text, acceptor=False)
    assert name == "utterance " and fst.num_states == 7  # with the space that Kaldi writes
    best = kaldifst.shortest_path(fst)
    _, labels, _, weight = kaldifst.get_linear_symbol_sequence(best)
    path = best_of(lattice)
    assert -weight.value == pytest.approx(float(path.get_tot_scores(True, False)), abs=1e-4)
    assert labels == [label for label in path.labels.tolist() if label > 0]


@pytest.mark.parametrize("outputs", [False, True])
def test_kaldis_readers_read_the_archive(tmp_path, outputs):
    lattice = make(lens=(3, 2))
    if outputs:
        own = k2.Fsa.from_str("0 1 1 7 -0.5\n0 1 2 8 -0.25\n1 2 -1 -1 0\n2\n", acceptor=False)
        lattice = compose(lattice, own)
    save_lattice(lattice, tmp_path / "l.txt", ["a", "b"])
    names, best = [], best_of(lattice).get_tot_scores(True, False).tolist()
    with kaldifst.SequentialVectorFstReader(f"ark:{tmp_path}/l.txt") as reader:
        for (name, fst), score in zip(reader, best):  # an FST lives until the next one is read
            names.append(name)
            _, labels, words, weight = kaldifst.get_linear_symbol_sequence(kaldifst.shortest_path(fst))
            assert -weight.value == pytest.approx(score, abs=1e-4)
            assert words and set(words) <= {7, 8} if outputs else labels == words
    assert names == ["a", "b"]


def test_acceptors_of_four_columns_are_read(tmp_path):
    """As save_lattice wrote them at first, and fstprint --acceptor does."""
    (tmp_path / "l.txt").write_text("a\n0 1 2 0.5\n1 2 3 0.25\n2 0\n")
    (tmp_path / "m.txt").write_text("a\n0 1 2 2 0.5\n1 2 3 3 0.25\n2 0\n")
    (four, _), (five, _) = (load_lattice(tmp_path / name) for name in ("l.txt", "m.txt"))
    assert torch.equal(four.arcs.values(), five.arcs.values()) and not hasattr(four, "aux_labels")
    assert not hasattr(five, "aux_labels")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "l.txt holds no lattice"),
        ("0 1 2 0.5\n1\n", "l.txt:1: the name of an FSA should stand here, not '0 1 2 0.5'"),
        ("a\n0 1 2 0.5\n1\n\n\nb c\n1", "l.txt:6: the name of an FSA should stand here, not 'b c'"),
        ("a\n0 1 2 0.5\n", "l.txt: a lattice without a final state"),
        ("a\n0 1 2 0.5\n1 0 2 0.5\n1\n", "l.txt: state 0 is on a cycle or behind one"),
        ("a\n0 1 2 0.5\n1 1 2 0.5\n1\n", "l.txt: state 1 is on a cycle or behind one"),
        ("a\n\nb\n0 1 2 0.5\n1 2\n1 2 3\n", "l.txt:6: a cost of nan"),
        ("a\n0 1 x 0.5\n1\n", "l.txt:2: labels x x of a lattice are numbers"),
    ],
)
def test_broken_texts(tmp_path, text, message):
    (tmp_path / "l.txt").write_text(text.replace("1 2 3\n", "1 2 3 nan\n"))
    with pytest.raises(ValueError) as caught:
        load_lattice(tmp_path / "l.txt")
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(message)


@pytest.mark.parametrize(
    "name, place, value, message",
    [
        ("target", 0, 9, "an arc to a state that does not exist"),
        ("target", 0, 0, "arcs that do not lead to later states"),
        ("target", 0, -1, "arcs and 16 states do not fit each other"),
        ("label", 0, -1, "label -1 elsewhere than on the arcs into a final state"),
        ("label", 0, -2, "label -1 elsewhere than on the arcs into a final state"),
        ("scores", 0, float("nan"), "a score that is not a number"),
        ("leaving", 0, 0, "arcs and 16 states do not fit each other"),
        ("num_states", 1, 3, "arcs and 16 states do not fit each other"),
    ],
)
def test_broken_tensors(tmp_path, name, place, value, message):
    save_lattice(make(), tmp_path / "l.safetensors")
    tensors, facts = read_container(tmp_path / "l.safetensors", KIND)
    tensors[name][place] = value
    write_container(tmp_path / "l.safetensors", KIND, tensors, facts)
    with pytest.raises(ValueError, match=message):
        load_lattice(tmp_path / "l.safetensors")


def test_wrong_arguments_are_refused(tmp_path):
    lattice = make()
    with pytest.raises(ValueError, match="the lattice is a single FSA"):
        save_lattice(lattice[0], tmp_path / "l.safetensors")
    with pytest.raises(ValueError, match="3 lattices need as many names without spaces"):
        save_lattice(lattice, tmp_path / "l.txt", ["a", "b c", "d"])
    loop = k2.create_fsa_vec([k2.Fsa.from_str("0 0 1 0\n0 1 -1 0\n1\n")])
    with pytest.raises(ValueError, match="not topologically sorted"):
        save_lattice(loop, tmp_path / "l.safetensors")
    lattice.words = k2.RaggedTensor([[1]] * lattice.num_arcs)
    with pytest.raises(ValueError, match="attribute words is ragged"):
        save_lattice(lattice, tmp_path / "l.safetensors")
    with pytest.raises(ValueError, match="No such file"):
        load_lattice(tmp_path / "none.txt")


def test_attribute_names_that_are_refused(tmp_path):
    save_lattice(make(), tmp_path / "l.safetensors")
    tensors, facts = read_container(tmp_path / "l.safetensors", KIND)
    for name in ("arcs", "_cache", "__class__", "to", "a b"):
        write_container(tmp_path / "l.safetensors", KIND, {**tensors, f"attribute {name}": tensors["scores"]}, facts)
        with pytest.raises(ValueError, match=f"l.safetensors holds an attribute named '{name}'"):
            load_lattice(tmp_path / "l.safetensors")


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_files_of_other_kinds(tmp_path, capsys):
    write_container(tmp_path / "b.safetensors", Kind("poem", "a poet"), {}, {})
    with pytest.raises(ValueError, match="b.safetensors holds a poem, not a k2 lattice"):
        load_lattice(tmp_path / "b.safetensors")
    for content in (torch.zeros(2), Evil()):
        torch.save({"kind": "k2 lattice", "facts": "{}", "tensor x": content}, str(tmp_path / "a.safetensors"))
        with pytest.raises(
            ValueError,
            match="a.safetensors cannot be read as a k2 lattice: it is a zip archive, of an "
            "older version of hainan_k2, .* make it again with hainan_k2.save_lat",
        ):
            load_lattice(tmp_path / "a.safetensors")
    torch.save({"arcs": Evil()}, str(tmp_path / "a.pt"))
    with pytest.raises(ValueError, match="a.pt is not a readable PyTorch checkpoint: it uses "):
        load_lattice(tmp_path / "a.pt")
    assert "executed" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="a.ark: archives for Kaldi are only written"):
        load_lattice(tmp_path / "a.ark")


PIECES = ["<blk>", '▁a"', "b\\", "▁c"]


def test_drawing_without_graphviz(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    lattice = make()
    path = draw_lattice(lattice, tmp_path / "drawn", PIECES, index=2, min_posterior=0.0)
    header, *lines = path.read_text().splitlines()
    assert path.name == "drawn.txt" and "final state 5" in header and len(lines) == lattice[2].num_arcs
    assert re.fullmatch(r'0 1 ▁a" @0 score -\d+\.\d{4} posterior [01]\.\d{4}', lines[1])
    assert re.fullmatch(r"1 4 - d=3 score -\d+\.\d{4} posterior [01]\.\d{4}", lines[6])
    assert lines[-1].startswith("4 5 end score 0.0000 posterior 1.0")
    few = draw_lattice(lattice, tmp_path / "few", PIECES, index=2, min_posterior=0.3).read_text().splitlines()[1:]
    assert 0 < len(few) < len(lines) and all(float(line.split()[-1]) >= 0.3 for line in few)
    with pytest.raises(ValueError, match="no lattice 3 among 3"):
        draw_lattice(lattice, tmp_path / "drawn", PIECES, index=3)
    with pytest.raises(ValueError, match="lattice 1 is empty"):
        draw_lattice(compose(lattice, k2.linear_fsa([1])), tmp_path / "drawn", PIECES, index=1)


def test_drawing_with_graphviz(tmp_path, monkeypatch):
    """With a script in place of dot that writes its input to the output file."""
    dot = tmp_path / "dot"
    dot.write_text('#!/bin/sh\n[ "$1" = -Tsvg ] && [ "$2" = -o ] && cat > "$3"\n')
    dot.chmod(dot.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setattr(shutil, "which", lambda _: str(dot))
    path = draw_lattice(make(), tmp_path / "drawn", PIECES, min_posterior=0.0)
    source = path.read_text()
    assert path.name == "drawn.svg" and source.startswith("digraph lattice {") and source.count("->") == 3 * (4 + 3) + 1
    dot.write_text("#!/bin/sh\nexit 1\n")
    assert draw_lattice(make(), tmp_path / "drawn", PIECES).name == "drawn.txt"


def test_quotes_and_backslashes_are_escaped():
    source = dot_source([DrawnArc(0, 1, 'say "b\\"', -1.0, 0.5)], 1, "caption")
    assert '0 -> 1 [label="say \\"b\\\\\\"\\n-1.00", color=gray35, fontcolor=gray35];' in source


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_graphviz_draws(tmp_path):
    path = draw_lattice(make(), tmp_path / "drawn", PIECES, min_posterior=0.0)
    assert path.suffix == ".svg" and "</svg>" in path.read_text()
