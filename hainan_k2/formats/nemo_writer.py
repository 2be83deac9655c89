"""A .nemo archive of a model, for NeMo's `ASRModel.restore_from`: an EncDecRNNTBPEModel, TDT or RNN-T.

model_config.yaml                    the constructor arguments of NeMo's modules
model_weights.ckpt                   the state dict, written by torch.save
tokenizer.model, tokenizer.vocab, vocab.txt      SentencePiece without the blank, which NeMo puts after the last token
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hainan_k2.config import BLANK, ModelConfig
from hainan_k2.files.atomic import atomic_file
from hainan_k2.frontend.audio import SAMPLING_RATE
from hainan_k2.frontend.mel_filters import slaney_filters
from hainan_k2.frontend.nemo_mel import FFT, WINDOW, WINDOWS
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.model.hainan import Hainan
from hainan_k2.text.piece_model import PieceModel
from hainan_k2.text.tokenizer import Tokenizer

NEMO = "3.0.0"  # the version whose configuration this is
TARGET = "nemo.collections.asr.models.rnnt_bpe_models.EncDecRNNTBPEModel"
_MODULES = "nemo.collections.asr.modules."


def write_nemo(path: Path, model: Hainan, tokenizer: Tokenizer) -> None:
    """Write the archive, completely or not at all. The CTC head and the heads of training are left out.

    Raises ValueError, naming the part, for a model that NeMo's modules cannot represent.
    """
    check_representable(model.config)
    tokens = PieceModel.read(tokenizer.serialised(), "the tokenizer").without_blank().write()
    pieces = tokenizer.pieces[1:]
    config = nemo_config(model.config, pieces)
    weights = io.BytesIO()
    torch.save(nemo_weights(model), weights)
    members = {
        "model_config.yaml": as_yaml(config).encode(),
        "model_weights.ckpt": weights.getvalue(),
        "tokenizer.model": tokens,
        "tokenizer.vocab": "".join(f"{piece}\t{-index}\n" for index, piece in enumerate(pieces)).encode(),
        "vocab.txt": "".join(f"{piece}\n" for piece in pieces if piece != "<unk>").encode(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def as_yaml(values: dict[str, Any]) -> str:
    """The values as YAML without references: a list that occurs twice is written twice."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    text: str = yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True)
    return text


def check_representable(config: ModelConfig) -> None:
    """Raises ValueError for the first part of a model that NeMo's modules do not have."""
    c, spec = config, FeatureSpec.of_model(config)
    refused = {
        f"encoder {c.encoder}": c.encoder != "fastconformer",
        f"features {spec.kind} (NeMo's are --features nemo)": spec.kind != "nemo",
        "an encoder without norm_out (train with --norm-out true)": not c.norm_out,
        f"predictor {c.predictor}": c.predictor == "stateless",
    }
    for part, wrong in refused.items():
        if wrong:
            raise ValueError(f"NeMo has no modules for {part}: this model cannot be a .nemo archive")
    if c.objective == "ctc":
        raise ValueError("this model has nothing but a CTC head: --format nemo writes transducers")


def nemo_config(config: ModelConfig, pieces: list[str]) -> dict[str, Any]:
    """model_config.yaml of a model whose tokens, without the blank, are `pieces`."""
    c, durations = config, list(config.durations)
    values: dict[str, Any] = {
        "sample_rate": SAMPLING_RATE,
        "tokenizer": {
            "dir": None,
            "type": "bpe",
            "model_path": "nemo:tokenizer.model",
            "vocab_path": "nemo:vocab.txt",
            "spe_tokenizer_vocab": "nemo:tokenizer.vocab",
        },
        "compute_eval_loss": False,
        "model_defaults": {"enc_hidden": c.d_model, "pred_hidden": c.predictor_dim, "joint_hidden": c.joiner_dim},
        "train_ds": None,
        "validation_ds": None,
        "test_ds": None,
        "preprocessor": preprocessor(FeatureSpec.of_model(c)),
        "encoder": encoder(c),
        "decoder": decoder(c),
        "joint": {
            "_target_": _MODULES + "RNNTJoint",
            "log_softmax": None,
            "preserve_memory": False,
            "fuse_loss_wer": False,
            "fused_batch_size": -1,
            "masking_prob": 0.5 if c.predictor_masking and c.objective == "tdt" else -1.0,  # HAINAN's, as NeMo has it
            "jointnet": {
                "joint_hidden": c.joiner_dim,
                "activation": c.joiner_activation,
                "dropout": c.joiner_dropout,
                "encoder_hidden": c.d_model,
                "pred_hidden": c.predictor_dim,
            },
            "num_extra_outputs": 0,
            "num_classes": len(pieces),
            "vocabulary": pieces,
        },
        "decoding": {"strategy": "greedy_batch", "greedy": {"max_symbols": 10, "loop_labels": True}},
        "loss": {"loss_name": "default"},
        "optim": {"name": "adamw", "lr": 0.001},
        "labels": pieces,
        "target": TARGET,
        "nemo_version": NEMO,
    }
    if c.objective == "tdt":
        values["model_defaults"].update(tdt_durations=durations, num_tdt_durations=len(durations))
        values["joint"]["num_extra_outputs"] = len(durations)
        values["decoding"].update(model_type="tdt", durations=durations)
        values["loss"] = {"loss_name": "tdt", "tdt_kwargs": {"durations": durations, "sigma": 0.05, "omega": 0.0}}
    return values


def preprocessor(spec: FeatureSpec) -> dict[str, Any]:
    """Arguments of AudioToMelSpectrogramPreprocessor, without dither: the same samples give the same features."""
    return {
        "_target_": _MODULES + "AudioToMelSpectrogramPreprocessor",
        "sample_rate": SAMPLING_RATE,
        "normalize": "per_feature" if spec.per_feature else "NA",
        "window_size": WINDOW / SAMPLING_RATE,
        "window_stride": 0.01,
        "window": spec.window,
        "features": spec.num_bins,
        "n_fft": FFT,
        "preemph": spec.preemphasis,
        "log": True,
        "frame_splicing": 1,
        "dither": 0.0,
        "pad_to": 0,
        "pad_value": 0.0,
    }


def encoder(c: ModelConfig) -> dict[str, Any]:
    """Arguments of ConformerEncoder."""
    left, right = c.attention_context
    local = left == right > 0  # with different sides, NeMo's local attention adds position scores to other offsets
    return {
        "_target_": _MODULES + "ConformerEncoder",
        "feat_in": c.num_mel_bins,
        "feat_out": -1,
        "n_layers": c.num_layers,
        "d_model": c.d_model,
        "use_bias": c.bias,
        "subsampling": "dw_striding",
        "subsampling_factor": 8,
        "subsampling_conv_channels": c.subsampling_channels,
        "causal_downsampling": False,
        "ff_expansion_factor": c.ffn_factor,
        "self_attention_model": "rel_pos_local_attn" if local else "rel_pos",
        "n_heads": c.num_heads,
        "att_context_size": list(c.attention_context),
        "xscaling": c.xscaling,
        "untie_biases": True,
        "pos_emb_max_len": 5000,
        "conv_kernel_size": c.conv_kernel,
        "conv_norm_type": "batch_norm",
        "dropout": c.dropout,
        "dropout_pre_encoder": c.dropout,
        "dropout_emb": 0.0,
        "dropout_att": c.dropout,
    }


def decoder(c: ModelConfig) -> dict[str, Any]:
    """Arguments of RNNTDecoder or StatelessTransducerDecoder."""
    prednet = {"pred_hidden": c.predictor_dim, "t_max": None, "dropout": c.predictor_dropout}
    if c.predictor == "concat":
        return {
            "_target_": _MODULES + "StatelessTransducerDecoder",
            "context_size": c.predictor_context,
            "normalization_mode": "layer" if c.predictor_norm else None,
            "prednet": prednet,
            "vocab_size": c.vocab_size - 1,
        }
    return {
        "_target_": _MODULES + "RNNTDecoder",
        "normalization_mode": None,
        "random_state_sampling": False,
        "blank_as_pad": True,
        "prednet": {**prednet, "pred_rnn_layers": c.predictor_layers},
        "vocab_size": c.vocab_size - 1,
    }


def nemo_weights(model: Hainan) -> dict[str, Tensor]:
    """The state dict by NeMo's names: the weights, and window and filters of its preprocessor."""
    c, spec = model.config, FeatureSpec.of_model(model.config)
    joint = "joint.joint_net.2." if c.joiner_dropout else "joint.joint_net.1."  # dropout is a layer of its own
    prefixes = {
        "encoder.": "encoder.",
        "predictor.lstm.": "decoder.prediction.dec_rnn.lstm.",
        "predictor.embed.": "decoder.prediction.embed.",
        "predictor.embeds.": "decoder.prediction.embeds.",
        "joiner.enc.": "joint.enc.",
        "joiner.pred.": "joint.pred.",
        "joiner.out.": joint,
    }
    by_token = ("decoder.prediction.embed", joint)
    weights = {
        "preprocessor.featurizer.window": WINDOWS[spec.window](WINDOW, periodic=False),
        "preprocessor.featurizer.fb": slaney_filters(spec.num_bins, FFT)[None].clone(),
    }
    for name, value in model.state_dict().items():
        for ours, theirs in prefixes.items():
            if name.startswith(ours):
                theirs += name[len(ours) :]
                moved = blank_last(value, c.vocab_size) if theirs.startswith(by_token) else value
                weights[theirs] = moved.detach().cpu().clone()
    return weights


def blank_last(rows: Tensor, vocab_size: int) -> Tensor:
    """Move the first row, the blank's, behind the other tokens; the rows after them (durations) stay."""
    return torch.cat([rows[BLANK + 1 : vocab_size], rows[: BLANK + 1], rows[vocab_size:]])
