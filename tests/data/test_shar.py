"""Shar folders: read lazily, in training and in decoding, like the manifest of the same cuts."""

import json
from pathlib import Path

import pytest
from lhotse import AudioSource, CutSet

from hainan_k2 import decode, prepare_data, train
from hainan_k2.bench.decode import random_model
from hainan_k2.data.config import DataConfig
from hainan_k2.data.cuts import open_cuts
from hainan_k2.data.datamodule import train_loader
from hainan_k2.data.shar import SharCuts
from hainan_k2.data.summary import summarise_cuts
from hainan_k2.files.jsonl import read_lines
from hainan_k2.formats.model_dir import write_model
from hainan_k2.text.tokenizer import Tokenizer
from tests.toy import train_command


@pytest.fixture(scope="module")
def shar(toy):
    """Folders shar_train, of archives of 25 cuts and their audio as FLAC, and shar_dev, of hainan-data."""
    (toy / "shar_train").mkdir()
    cuts = CutSet.from_file(toy / "train.jsonl.gz")
    cuts.to_shar(toy / "shar_train", fields={"recording": "flac"}, shard_size=25)
    prepare_data.main([str(toy / "dev.jsonl.gz"), "--out-dir", str(toy), "--split", "dev", "--to", "shar"])
    return toy


def test_training_reads_a_folder_as_it_reads_a_manifest(shar):
    options = ["--num-epochs", "1", "--shuffle", "false", "--num-workers", "1"]
    train.main(train_command(shar, "of-manifest", *options))
    of_shar = ["--train-cuts", str(shar / "shar_train"), "--dev-cuts", str(shar / "shar_dev")]
    train.main(train_command(shar, "of-shar", *options, *of_shar))
    assert read_lines(shar / "of-shar" / "updates.jsonl") == read_lines(shar / "of-manifest" / "updates.jsonl")
    assert read_lines(shar / "of-shar" / "epochs.jsonl") == read_lines(shar / "of-manifest" / "epochs.jsonl")


def test_decoding_reads_a_folder_as_it_reads_a_manifest(shar, tmp_path):
    tokenizer = Tokenizer(shar / "lang")
    write_model(tmp_path / "model", random_model("tiny", tokenizer.vocab_size, 1), tokenizer, "float32", {})
    written = []
    for cuts, options in (("dev.jsonl.gz", []), ("shar_dev", []), ("shar_dev", ["--dask", "local:1"])):
        if options:
            pytest.importorskip("distributed")
        out = tmp_path / f"out{len(written)}"
        command = ["--model", str(tmp_path / "model"), "--cuts", str(shar / cuts), "--out-dir", str(out)]
        decode.main([*command, "--write", "jsonl", "--method", "ar-greedy", "--max-duration", "6", *options])
        written.append({p.name: p.read_bytes() for p in out.iterdir() if not p.name.startswith("summary")})
    assert written[0] == written[1] == written[2] and "recogs-dev-ar-greedy.txt" in written[0]


def test_an_epoch_is_shuffled_and_resumed_exactly(shar):
    config = DataConfig(max_duration=10, num_workers=0, num_buckets=3, shuffle_buffer=30)

    def order(epoch, skip=0):
        loader = train_loader(str(shar / "shar_train"), config, seed=3, epoch=epoch, skip_batches=skip)
        return [batch["supervisions"]["cut_id"] for batch in loader]

    first, second = order(1), order(2)
    names = sorted(name for batch in first for name in batch)
    assert names == sorted(name for batch in second for name in batch) == sorted(set(names)) and len(names) == 120
    assert first != second and order(2) == second and order(2, skip=4) == second[4:]


def test_metadata_are_read_without_the_archives_of_audio(shar, tmp_path):
    listed = {"cuts": sorted(map(str, (shar / "shar_dev").glob("cuts.*"))), "recording": ["/none/recording.000000.tar"]}
    (tmp_path / "dev.json").write_text(json.dumps(listed))
    assert summarise_cuts(tmp_path / "dev.json", DataConfig()).kept == 20
    with pytest.raises(ValueError, match="dev.json: not a readable Shar folder: .*none/recording"):
        list(open_cuts(tmp_path / "dev.json"))


def test_archives_may_be_listed_in_a_file(shar, tmp_path):
    folder = shar / "shar_train"
    listed = {field: sorted(map(str, folder.glob(f"{field}.*"))) for field in ("cuts", "recording")}
    (tmp_path / "train.json").write_text(json.dumps(listed))
    ours, theirs = list(SharCuts(tmp_path / "train.json")), list(SharCuts(folder))
    assert len(ours) == 120 and [cut.id for cut in ours] == [cut.id for cut in theirs]
    assert (ours[-1].load_audio() == theirs[-1].load_audio()).all()


def truncate(folder):
    path = folder / "recording.000000.tar"
    path.write_bytes(path.read_bytes()[:5000])


def lose(folder):
    (folder / "recording.000000.tar").unlink()


def replace_cuts(folder):
    (folder / "cuts.000000.jsonl.gz").write_bytes(b"no gzip")


@pytest.mark.parametrize("damage", [truncate, lose, replace_cuts])
def test_damaged_folders_are_named(shar, tmp_path, damage):
    for path in (shar / "shar_dev").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    damage(tmp_path)
    with pytest.raises(ValueError, match=str(tmp_path)):
        list(open_cuts(tmp_path))


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "not JSON"),
        ("[1]", "lists no Shar archives"),
        ('{"cuts": ["a"]}', "lists no Shar archives"),
        ('{"cuts": ["a"], "recording": [1]}', "lists no Shar archives"),
        ('{"cuts": ["pipe:touch /tmp/run"], "recording": ["a"]}', "shell commands are not run"),
        ('{"cuts": ["a", "b"], "recording": ["a"]}', "not a readable Shar folder"),
    ],
)
def test_bad_lists_are_refused(tmp_path, content, message):
    Path(tmp_path / "list.json").write_text(content)
    with pytest.raises(ValueError, match=f"list.json: .*{message}|list.json: {message}"):
        open_cuts(tmp_path / "list.json")


def test_a_shell_command_as_audio_is_refused(toy, tmp_path):
    cut = next(iter(CutSet.from_file(toy / "dev.jsonl.gz")))
    cut.recording.sources[0] = AudioSource("command", [0], f"touch {tmp_path}/run")
    CutSet.from_cuts([cut]).to_file(tmp_path / "cuts.jsonl.gz")
    listed = {"cuts": [str(tmp_path / "cuts.jsonl.gz")], "recording": [str(tmp_path / "recording.tar")]}
    (tmp_path / "list.json").write_text(json.dumps(listed))
    with pytest.raises(ValueError, match="list.json: the audio of cut .* is a shell command"):
        list(open_cuts(tmp_path / "list.json", metadata=True))
    assert not (tmp_path / "run").exists()
