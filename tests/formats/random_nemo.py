"""Models of ours in NeMo's form, and random ones of a published size: `python -m tests.formats.random_nemo XL V FILE`.

XL is the name of a preset, which gets 128 mel bins and no biases, as in Parakeet-TDT-0.6B; V is the number of tokens.
"""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import torch
import yaml

from hainan_k2.config import ModelConfig
from hainan_k2.model.hainan import Hainan
from hainan_k2.text.piece_model import UNKNOWN_PIECE, Piece, PieceModel


def nemo_yaml(vocab, d_model, mel, bias, predictor, durations=(), activation="relu", **encoder):
    """model_config.yaml as NeMo writes it, of what recognition needs."""
    decoder = {"vocab_size": vocab, **predictor}
    return {
        "target": "nemo.collections.asr.models.rnnt_bpe_models.EncDecRNNTBPEModel",
        "preprocessor": {"features": mel, "window_size": 0.025},
        "encoder": {
            "_target_": "nemo.collections.asr.modules.ConformerEncoder",
            "feat_in": mel,
            "d_model": d_model,
            "use_bias": bias,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            **encoder,
        },
        "decoder": decoder,
        "joint": {
            "num_classes": vocab,
            "num_extra_outputs": len(durations),
            "jointnet": {"joint_hidden": "${model.model_defaults.joint_hidden}", "activation": activation},
        },
        "model_defaults": {"joint_hidden": 32, "tdt_durations": list(durations)},
    }


def lstm(hidden, layers):
    prednet = {"pred_hidden": hidden, "pred_rnn_layers": layers}
    return {"_target_": "nemo.collections.asr.modules.RNNTDecoder", "prednet": prednet}


def published_form(ours):
    """A model of ours as NeMo's (configuration, arrays): published names, blank last."""
    c, blank = ours.config, ours.config.vocab_size - 1
    pairs = (
        ("predictor.lstm.", "decoder.prediction.dec_rnn.lstm."),
        ("predictor.embed", "decoder.prediction.embed"),
        ("joiner.out.", "joint.joint_net.2."),
        ("joiner.", "joint."),
        ("ctc.", "ctc_decoder.decoder_layers.0."),
    )
    arrays = {}
    for name, value in ours.state_dict().items():
        theirs = next((b + name[len(a) :] for a, b in pairs if name.startswith(a)), name)
        if name.startswith(("predictor.embed", "joiner.out.", "ctc.")):
            value = value[[*range(1, blank + 1), 0, *range(blank + 1, len(value))]]
        if name == "ctc.weight":
            value = value[:, :, None]
        if not name.startswith("simple_"):
            arrays[theirs] = value.numpy()
    predictor = lstm(c.predictor_dim, c.predictor_layers)
    if c.predictor == "concat":
        predictor = {
            "_target_": "nemo.collections.asr.modules.StatelessTransducerDecoder",
            "prednet": {"pred_hidden": c.predictor_dim},
            "context_size": c.predictor_context,
            "normalization_mode": "layer" if c.predictor_norm else None,
        }
    options = {"n_layers": c.num_layers, "n_heads": c.num_heads, "conv_kernel_size": c.conv_kernel}
    options.update(ff_expansion_factor=c.ffn_factor, subsampling_conv_channels=c.subsampling_channels)
    options.update(xscaling=c.xscaling, att_context_size=list(c.attention_context))
    durations = c.durations if c.objective == "tdt" else ()
    config = nemo_yaml(blank, c.d_model, c.num_mel_bins, c.bias, predictor, durations, c.joiner_activation, **options)
    config["model_defaults"]["joint_hidden"] = c.joiner_dim
    if c.ctc:
        config["target"] = config["target"].replace("RNNT", "HybridRNNTCTC")
        head = {"_target_": "nemo.collections.asr.modules.ConvASRDecoder", "num_classes": blank}
        config["aux_ctc"] = {"decoder": head}
    return config, arrays


def tokenizer(size: int) -> bytes:
    """A SentencePiece model of `size` pieces that nobody has trained."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    texts = list(dict.fromkeys(f"{a}{b}{c}" for a in ["", "▁", *letters] for b in ["", *letters] for c in letters))
    pieces = [Piece("<unk>", 0.0, UNKNOWN_PIECE), *(Piece(text, -i) for i, text in enumerate(texts[: size - 1]))]
    return PieceModel(tuple(pieces), (), ()).write()


def write_nemo(path: Path, model: Hainan) -> None:
    """An archive with the weights of `model`, a tokenizer, and what recognition needs of model_config.yaml."""
    config, arrays = published_form(model)
    config["tokenizer"] = {"type": "bpe", "model_path": "nemo:tokenizer.model"}
    weights = path.with_suffix(".ckpt")
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, weights)
    with tarfile.open(path, "w:") as archive:
        for name, content in (
            ("model_config.yaml", yaml.safe_dump(config).encode()),
            ("tokenizer.model", tokenizer(model.vocab_size - 1)),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        archive.add(weights, "model_weights.ckpt")
    weights.unlink()


if __name__ == "__main__":
    torch.manual_seed(1)
    size, vocab_size, out = sys.argv[1], int(sys.argv[2]) + 1, Path(sys.argv[3])
    options = {"num_mel_bins": 128, "bias": False, "durations": (0, 1, 2, 3, 4), "ctc": False}
    write_nemo(out, Hainan(ModelConfig.preset(size, vocab_size=vocab_size, features="nemo", **options)))
