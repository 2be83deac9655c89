"""Imports of hostile and mutated models: `python -m tests.formats.hostile_imports FOLDER COUNT`.

Each is refused by one line on stderr and exit code 2, and nothing is written; a mutated one may also be imported whole.
Anything else ends the process: another exception, code that is run, a file left behind, MEGABYTES of memory more than
an import of a sound model takes.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import resource
import shutil
import sys
import tarfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch

from hainan_k2.import_model import main
from tests.fuzz_readers import mutate
from tests.hostile import hostile_files

DATA = Path(__file__).parent.parent / "data"
MEGABYTES = 500
BOMB = "a: &a [x, x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{f'*{chr(97 + i)}, ' * 9}]\n" for i in range(20))


def members() -> dict[str, bytes]:
    """The files of a sound archive."""
    with tarfile.open(DATA / "nemo_hybrid.nemo") as archive:
        return {m.name[2:]: archive.extractfile(m).read() for m in archive.getmembers() if m.isreg()}


def pack(path: Path, files: dict[str, bytes], *more: tarfile.TarInfo, mode: str = "w:") -> Path:
    """An archive of files, and of further members without content."""
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in more:
            archive.addfile(member)
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def saved(value: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def with_config(files: dict[str, bytes], old: str, new: str) -> dict[str, bytes]:
    text = files["model_config.yaml"].decode()
    assert old in text, old
    return {**files, "model_config.yaml": text.replace(old, new).encode()}


def with_weight(files: dict[str, bytes], change: Callable[[dict], object]) -> dict[str, bytes]:
    weights = torch.load(io.BytesIO(files["model_weights.ckpt"]))
    change(weights)
    return {**files, "model_weights.ckpt": saved(weights)}


def hostile_archives(folder: Path, evil: list[bytes]) -> None:
    """.nemo archives that have to be refused."""
    files = members()
    tokenizer = next(name for name in files if name.endswith("tokenizer.model"))
    without = {name: {n: c for n, c in files.items() if n != name} for name in files}
    yaml, ckpt = files["model_config.yaml"], "model_weights.ckpt"
    archives: dict[str, dict[str, bytes]] = {
        "up": {**files, "../evil": b"x"},
        "root": {**files, "/tmp/evil-import": b"x"},
        "no-config": without["model_config.yaml"],
        "no-weights": without[ckpt],
        "no-tokenizer": without[tokenizer],
        "below": {**without[ckpt], f"sub/{ckpt}": files[ckpt]},
        "empty-weights": {**files, ckpt: b""},
        "list": {**files, ckpt: saved([1, 2])},
        "text": {**files, ckpt: saved({"a": "text"})},
        "empty-dict": {**files, ckpt: saved({})},
        "bad-tokenizer": {**files, tokenizer: files[tokenizer][:5000]},
        "no-sentencepiece": {**files, tokenizer: b"not a model"},
        "tag": {
            **files,
            "model_config.yaml": yaml + b"x: !!python/object/apply:os.system ['touch /tmp/evil-import']\n",
        },
        "local-tag": {**files, "model_config.yaml": yaml + b"x: !evil y\n"},
        "binary": {**files, "model_config.yaml": b"\xff\xfe\x00\x01"},
        "aliases": {**files, "model_config.yaml": BOMB.encode()},
        "merge": {**files, "model_config.yaml": yaml + b"x: &x {a: 1}\ny: {<<: *x}\n"},
        "deep": {**files, "model_config.yaml": b"[" * 100_000},
        "deep-mapping": {**files, "model_config.yaml": b"{a: " * 10_000},
        "long-number": {**files, "model_config.yaml": yaml + b"x: " + b"9" * 100_000 + b"\n"},
        "list-config": {**files, "model_config.yaml": b"- a\n"},
        "no-mapping": with_config(files, "encoder:\n", "encoder: 3\nold:\n"),
        "wide": with_config(files, "d_model: 48", "d_model: 60000"),
        "deep-model": with_config(files, "n_layers: 1\n", "n_layers: 1000\n"),
        "too-deep": with_config(files, "n_layers: 1\n", "n_layers: 1000000000000\n"),
        "negative": with_config(files, "n_layers: 1\n", "n_layers: -1\n"),
        "float": with_config(files, "n_layers: 1\n", "n_layers: 1.5\n"),
        "path": with_config(files, f"nemo:{tokenizer}", "nemo:../../etc/passwd.model"),
        "absolute": with_config(files, f"nemo:{tokenizer}", "/etc/passwd"),
        "aggregate": with_config(files, "type: bpe", "type: agg"),
        "shape": with_weight(files, lambda w: w.update({"joint.enc.bias": torch.zeros(3)})),
        "missing": with_weight(files, lambda w: w.pop("joint.enc.bias")),
        "extra": with_weight(files, lambda w: w.update(extra=torch.zeros(3))),
        "integers": with_weight(files, lambda w: w.update({"joint.enc.bias": w["joint.enc.bias"].long()})),
        "nan": with_weight(files, lambda w: w["joint.enc.bias"].fill_(float("nan"))),
        "expanded": with_weight(files, lambda w: w.update({"joint.enc.bias": torch.zeros(1).expand(10**9)})),
        "same-storage": with_weight(
            files, lambda w: w.update({f"x{i}": w["encoder.pre_encode.out.weight"] for i in range(300)})
        ),
        "cut-zip": {**files, ckpt: files[ckpt][:-3000]},
        "raw-pickle": {**files, ckpt: pickle.dumps({"a": 1})},
        **{f"evil-{i}": {**files, ckpt: content} for i, content in enumerate(evil)},
    }
    for name, content in archives.items():
        pack(folder / f"{name}.nemo", content)
    for name, member in {
        "symlink": special(ckpt, tarfile.SYMTYPE, "/etc/passwd"),
        "hardlink": special(ckpt, tarfile.LNKTYPE, "model_config.yaml"),
        "device": special(ckpt, tarfile.CHRTYPE),
        "fifo": special(ckpt, tarfile.FIFOTYPE),
    }.items():
        pack(folder / f"{name}.nemo", without[ckpt], member)
    pack(folder / "link-beside.nemo", files, special("x", tarfile.SYMTYPE, "/etc/passwd"))
    pack(folder / "many.nemo", files, *(tarfile.TarInfo(f"x{i}") for i in range(2000)))
    giant = tarfile.TarInfo(ckpt)
    giant.size = 10**12
    content = pack(folder / "giant.nemo", without[ckpt]).read_bytes().rstrip(b"\0")
    content += b"\0" * (-len(content) % 512)
    (folder / "giant.nemo").write_bytes(content + giant.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024)
    twice = (folder / "no-weights.nemo").read_bytes()
    end = len(twice.rstrip(b"\0"))
    (folder / "twice.nemo").write_bytes(twice[: end + (-end % 512)] + (folder / "no-weights.nemo").read_bytes())
    pack(folder / "bomb.nemo", {**files, "zeros": bytes(200_000_000)}, mode="w:gz")
    whole = (DATA / "nemo_rnnt.nemo").read_bytes()
    (folder / "cut-gzip.nemo").write_bytes(whole[: len(whole) // 2])
    (folder / "cut.nemo").write_bytes((DATA / "nemo_hybrid.nemo").read_bytes()[:500_000])
    (folder / "empty.nemo").write_bytes(b"")
    (folder / "text.nemo").write_bytes(b"hello")


def hostile_folders(folder: Path) -> None:
    """Folders of transformers that have to be refused."""
    sound = {path.name: path.read_bytes() for path in (DATA / "parakeet_tiny").iterdir()}
    weights, config = sound["model.safetensors"], json.loads(sound["config.json"])
    length = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + length])

    def with_header(change: Callable[[dict], object]) -> bytes:
        changed = json.loads(json.dumps(header))
        change(changed)
        text = json.dumps(changed).encode()
        return len(text).to_bytes(8, "little") + text + weights[8 + length :]

    def configured(**changes: object) -> bytes:
        return json.dumps({**config, **changes}).encode()

    encoder = config["encoder_config"]
    cases: dict[str, dict[str, bytes]] = {
        "long-header": {"model.safetensors": (2**62).to_bytes(8, "little") + weights[8:]},
        "cut": {"model.safetensors": weights[:-100]},
        "huge-tensor": {"model.safetensors": with_header(lambda h: h["joint.head.bias"].update(shape=[10**9]))},
        "huge-offsets": {
            "model.safetensors": with_header(lambda h: h["joint.head.bias"].update(data_offsets=[0, 10**12]))
        },
        "other-type": {"model.safetensors": with_header(lambda h: h["joint.head.bias"].update(dtype="BOOL"))},
        "other-name": {"model.safetensors": with_header(lambda h: h.update(x=h.pop("joint.head.bias")))},
        "index-up": {"model.safetensors.index.json": b'{"weight_map": {"a": "../evil.safetensors"}}'},
        "index-bin": {"model.safetensors.index.json": b'{"weight_map": {"a": "pytorch_model.bin"}}'},
        "index-list": {"model.safetensors.index.json": b'{"weight_map": []}'},
        "deep-json": {"config.json": b"[" * 100_000},
        "json-list": {"config.json": b"[1]"},
        "json-binary": {"config.json": b"\xff\xfe"},
        "whisper": {"config.json": configured(model_type="whisper")},
        "no-vocabulary": {"config.json": configured(vocab_size=None)},
        "long-number": {"config.json": configured(vocab_size=129).replace(b"129", b"9" * 5000)},
        "blank-first": {"config.json": configured(blank_token_id=0)},
        "wide": {"config.json": configured(decoder_hidden_size=65000)},
        "durations": {"config.json": configured(durations=[0, 1, 2])},
        "text-durations": {"config.json": configured(durations=["a"])},
        "deep-model": {"config.json": configured(encoder_config={**encoder, "num_hidden_layers": 1000})},
        "odd": {"config.json": configured(encoder_config={**encoder, "hidden_size": 63})},
        "biases": {"config.json": configured(encoder_config={**encoder, "attention_bias": True})},
        "no-encoder": {"config.json": configured(encoder_config=[])},
        "rate": {"preprocessor_config.json": sound["preprocessor_config.json"].replace(b"16000", b"8000")},
        "no-features": {"preprocessor_config.json": b"{}" * 2},
        "no-tokens": {"tokenizer.json": b"{}"},
        "tokens-binary": {"tokenizer.json": b"\xff"},
        "tokens-cut": {"tokenizer.json": sound["tokenizer.json"][:1000]},
    }
    for name, changed in cases.items():
        path = folder / f"{name}.transformers"
        path.mkdir()
        for file, content in {**sound, **changed}.items():
            (path / file).write_bytes(content)
    for name in ("model.safetensors", "preprocessor_config.json", "tokenizer.json"):
        path = folder / f"no-{name}.transformers"
        shutil.copytree(DATA / "parakeet_tiny", path)
        (path / name).unlink()


def mutated(folder: Path, count: int) -> None:
    """Sound models with bytes changed at random, at the starts of their files above all."""
    rng, files = random.Random(14), members()
    sound = {path.name: path.read_bytes() for path in (DATA / "parakeet_tiny").iterdir()}
    for i in range(count):
        kind = i % 4
        if kind == 0:
            (folder / f"m{i}.nemo").write_bytes(mutate((DATA / "nemo_hybrid.nemo").read_bytes(), rng))
        elif kind == 1:
            (folder / f"m{i}.nemo").write_bytes(mutate((DATA / "nemo_rnnt.nemo").read_bytes(), rng))
        elif kind == 2:
            name = rng.choice(list(files))
            pack(folder / f"m{i}.nemo", {**files, name: mutate(files[name], rng)})
        else:
            name, path = rng.choice(list(sound)), folder / f"m{i}.transformers"
            path.mkdir()
            for file, content in {**sound, name: mutate(sound[name], rng)}.items():
                (path / file).write_bytes(content)


def run(path: Path, out: Path) -> str:
    """Import; the line on stderr, empty after a success."""
    before, stderr = sorted(out.parent.iterdir()), io.StringIO()
    try:
        with redirect_stderr(stderr), redirect_stdout(io.StringIO()):
            main([str(path), "--out", str(out)])
    except SystemExit as stopped:
        line = stderr.getvalue()
        assert stopped.code == 2 and line.count("\n") == 1 and str(path) in line, (path.name, stopped.code, line)
        assert sorted(out.parent.iterdir()) == before, f"{path.name} left files behind"
        return line
    assert (out / "config.json").is_file()
    shutil.rmtree(out)
    return ""


def run_all(folder: Path, count: int) -> None:
    models, outs, evil = (folder / name for name in ("models", "outs", "evil"))
    for path in (models, outs):
        path.mkdir(parents=True)
    harmed = folder / "harmed"
    hostile_archives(models, [path.read_bytes() for path in hostile_files(evil, harmed)])
    hostile_folders(models)
    deliberate = sorted(models.iterdir())
    mutated(models, count)
    assert run(DATA / "nemo_hybrid.nemo", outs / "m") == "" and run(DATA / "parakeet_tiny", outs / "m") == ""
    usual = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    accepted = []
    for path in sorted(models.iterdir()):
        print(path.name, file=sys.stderr)
        if not run(path, outs / "m"):
            accepted.append(path)
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - usual
        assert used < 1024 * MEGABYTES, f"{path.name} took {used // 1024} MB"
    assert not set(accepted) & set(deliberate), [path.name for path in set(accepted) & set(deliberate)]
    assert not harmed.exists() and not Path("/tmp/evil-import").exists()
    print(json.dumps({"deliberate": len(deliberate), "mutated": count, "accepted": len(accepted), "kB": used}))


if __name__ == "__main__":
    run_all(Path(sys.argv[1]), int(sys.argv[2]))
