"""Commands on a Dask cluster write the files of a single process, bit for bit, also where a worker is killed midway."""

import json
import os
import shutil
import signal
import time

import pytest
from lhotse import CutSet

from hainan_k2 import compute_features, decode, transcribe
from hainan_k2.bench.decode import random_model
from hainan_k2.data import precompute
from hainan_k2.formats.model_dir import write_model
from hainan_k2.inference import spread
from hainan_k2.report.decoding import RecogsStream
from hainan_k2.report.transcripts import Transcripts
from hainan_k2.text.tokenizer import Tokenizer

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def client():
    """Of a scheduler with two worker processes."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=":0") as cluster:
        with distributed.Client(cluster) as client:
            yield client


@pytest.fixture(scope="module")
def model(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("talker") / "model"
    tokenizer = Tokenizer(toy / "lang")
    write_model(folder, random_model("tiny", tokenizer.vocab_size, seed=1), tokenizer, "float32", {})
    return folder


@pytest.fixture
def kill_after(client, monkeypatch):
    """Kills a worker process after some calls of a method; returns a list that then has its process id."""

    def prepare(owner, name, calls):
        original, killed, count = getattr(owner, name), [], []

        def counted(self, *arguments):
            count.append(1)
            if len(count) == calls:
                killed.append(next(iter(client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)
            return original(self, *arguments)

        monkeypatch.setattr(owner, name, counted)
        return killed

    return prepare


def address(client):
    return client.scheduler.address


def files(folder):
    """Names and contents of the result files, without times."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if not p.name.startswith("summary")}


def decode_toy(toy, model, out, *options):
    command = ["--model", str(model), "--cuts", str(toy / "train.jsonl.gz"), "--out-dir", str(out), "--write", "jsonl"]
    decode.main([*command, "--max-duration", "4", "--method", "ar-greedy,nar-greedy", "--num-workers", "0", *options])
    return files(out)


def test_decode_with_a_worker_killed_midway(toy, model, client, kill_after, tmp_path):
    alone = decode_toy(toy, model, tmp_path / "alone")
    killed = kill_after(RecogsStream, "write", 5)
    assert decode_toy(toy, model, tmp_path / "spread", "--dask", address(client)) == alone
    assert killed and killed[0] not in client.run(os.getpid).values()
    counted = json.loads((tmp_path / "spread" / "summary-train.json").read_text())
    assert counted["utterances"] == 120 and counted["methods"]["ar-greedy"]["encoder_seconds"][0] > 0


def test_long_cuts_are_encoded_in_windows(toy, model, client, tmp_path):
    """Windows of 0.8 s: most cuts are long."""
    options = ["--window", "0.8", "--context", "0.16"]
    alone = decode_toy(toy, model, tmp_path / "alone", *options)
    assert decode_toy(toy, model, tmp_path / "spread", *options, "--dask", address(client)) == alone


def test_transcribe_with_a_worker_killed_midway(toy, model, client, kill_after, tmp_path):
    shutil.copytree(toy / "dev", tmp_path / "audio")
    (tmp_path / "audio" / "dev-0045.wav").write_bytes(b"no audio")

    def run(out, *options):
        command = [str(tmp_path / "audio"), "--model", str(model), "--write", "jsonl,ctm", "--out-dir", str(out)]
        with pytest.raises(SystemExit) as stopped:
            transcribe.main([*command, "--max-duration", "3", *options])
        assert stopped.value.code == 1  # one file cannot be read
        return files(out)

    alone = run(tmp_path / "alone")
    killed = kill_after(Transcripts, "write", 3)
    assert run(tmp_path / "spread", "--dask", address(client)) == alone
    assert len(killed) == 1
    assert len((tmp_path / "spread" / "transcripts.jsonl").read_text().splitlines()) == 20


def test_compute_features(toy, client, tmp_path, monkeypatch):
    monkeypatch.setattr(precompute, "PART", 8)
    shutil.copy(toy / "dev.jsonl.gz", tmp_path / "cuts_dev.jsonl.gz")

    def run(*options):
        out = tmp_path / "out"
        compute_features.main(["--manifest-dir", str(tmp_path), "--out-dir", str(out), "--split", "dev", *options])
        written = {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}
        shutil.rmtree(out)
        return written

    alone = run()
    assert len(alone) == 5  # three parts, the manifest, the marker
    assert run("--dask", address(client)) == alone


@pytest.fixture
def loads_meet(client, tmp_path):
    """A worker's load waits until the other worker loads too: otherwise a quick one may decode everything."""
    folder = tmp_path / "loading"
    folder.mkdir()

    def patch():
        load = spread.Recognizer.load

        def meet(*arguments):
            (folder / str(os.getpid())).touch()
            begin = time.monotonic()
            while len(list(folder.iterdir())) < 2:
                assert time.monotonic() < begin + 300, "the other worker gets no work"
                time.sleep(0.01)
            return load(*arguments)

        spread.load_alone, spread.Recognizer.load = load, meet

    def restore():
        spread.Recognizer.load = spread.load_alone

    client.wait_for_workers(2)
    client.run(spread.loaded.cache_clear)
    client.run(patch)
    yield
    client.run(restore)


def test_a_worker_loads_the_model_once(toy, model, client, loads_meet, tmp_path):
    decode_toy(toy, model, tmp_path / "out", "--dask", address(client))
    loads = client.run(spread.loaded.cache_info).values()
    assert [info.misses for info in loads] == [1, 1] and sum(info.hits for info in loads) > 10


def test_an_unreadable_cut_ends_decoding_as_in_one_process(toy, model, client, tmp_path, capsys):
    cuts = list(CutSet.from_file(toy / "dev.jsonl.gz"))
    cuts[7].recording.sources[0].source = str(tmp_path / "lost.wav")
    CutSet.from_cuts(cuts).to_file(tmp_path / "lost.jsonl.gz")
    messages = []
    for options in ([], ["--dask", address(client)]):
        with pytest.raises(SystemExit) as stopped:
            decode_toy(toy, model, tmp_path / "out", "--cuts", str(tmp_path / "lost.jsonl.gz"), *options)
        assert stopped.value.code == 2
        messages.append(capsys.readouterr().err.splitlines()[-1])
    assert messages[0] == messages[1] and "dev-007" in messages[0]


@pytest.mark.parametrize(
    "command, options, message",
    [
        (decode, ["--cuts", "x", "--lattices", "out"], "--lattices are written by a single process"),
        (transcribe, ["--stream", "true"], "--stream decodes in this process"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused(command, options, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main([*options, "--dask", "local:2"])
    assert stopped.value.code == 2 and message in capsys.readouterr().err
