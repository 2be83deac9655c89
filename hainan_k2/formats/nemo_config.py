"""NeMo's model_config.yaml as a ModelConfig. What our encoder, predictors and joint lack is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hainan_k2.config import ModelConfig, shown
from hainan_k2.formats.foreign_options import Section
from hainan_k2.frontend.nemo_options import nemo_options

# Classes of models, by whether they have a transducer and a CTC head.
_MODELS = {
    "EncDecRNNTBPEModel": (True, False),
    "EncDecHybridRNNTCTCBPEModel": (True, True),
    "EncDecCTCModelBPE": (False, True),
}
_READ = "sample_rate preprocessor encoder decoder joint aux_ctc tokenizer model_defaults loss decoding".split()
_READ += ["target", "nemo_version"]


def model_config(values: Mapping[str, Any], where: str) -> ModelConfig:
    """The configuration of the model.

    Args:
      values: the content of model_config.yaml.
      where: the file, for error messages.
    Raises:
      ValueError: for another class of models, missing options, and options that are not supported.
    """
    root = Section(values, where)
    transducer, ctc = _MODELS[model_class(root)]
    options = {**encoder_options(root.section("encoder")), **nemo_options(_plain(root.section("preprocessor")), where)}
    if root.section("encoder").number("feat_in") != options["num_mel_bins"]:
        raise ValueError(f"{where}: encoder.feat_in is not the number of features, {options['num_mel_bins']}")
    if transducer:
        options.update(transducer_options(root))
    else:
        options.update(objective="ctc", durations=(0,), predictor_masking=False)
        options["vocab_size"] = _ctc_head(root.section("decoder"))
    if transducer and ctc:
        head = _ctc_head(root.section("aux_ctc").section("decoder"))
        if head != options["vocab_size"]:
            raise ValueError(f"{where}: the CTC head has {head} outputs, the transducer {options['vocab_size']} tokens")
    try:
        return ModelConfig(**options, ctc=ctc)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def model_class(root: Section) -> str:
    """The class that wrote the model; ValueError for classes that are not read."""
    target = root.get("target")
    name = target.rpartition(".")[2] if isinstance(target, str) else ""
    if name not in _MODELS:
        raise ValueError(f"{root.name}: model class {shown(target)} is not supported: {', '.join(_MODELS)} are read")
    return name


def ignored(values: Mapping[str, Any]) -> list[str]:
    """The sections that have no influence on recognition here: training data, optimizer, augmentation and the like."""
    return sorted(str(name) for name in values if name not in _READ)


def encoder_options(encoder: Section) -> dict[str, Any]:
    """Options of a ModelConfig for the section `encoder`."""
    _require_class(encoder, "ConformerEncoder")
    d_model, kernel = encoder.number("d_model"), encoder.number("conv_kernel_size", 31)
    for name, default, *supported in (
        ("subsampling", "striding", "dw_striding"),
        ("subsampling_factor", 4, 8),
        ("causal_downsampling", False, False),
        ("feat_out", -1, -1, d_model),
        ("reduction", None, None),
        ("conv_norm_type", "batch_norm", "batch_norm"),
        ("conv_context_style", "regular", "regular"),
        ("conv_context_size", None, None, [kernel // 2, kernel // 2]),
        ("att_context_style", "regular", "regular"),
        ("self_attention_model", "rel_pos", "rel_pos", "rel_pos_local_attn"),
        ("global_tokens", 0, 0),
    ):
        encoder.require(name, default, *supported)
    channels = encoder.number("subsampling_conv_channels", -1)
    return {
        "d_model": d_model,
        "num_layers": encoder.number("n_layers"),
        "num_heads": encoder.number("n_heads", 4),
        "ffn_factor": encoder.number("ff_expansion_factor", 4),
        "conv_kernel": kernel,
        "subsampling_channels": d_model if channels == -1 else channels,
        "attention_context": _attention_context(encoder),
        "xscaling": encoder.flag("xscaling", True),
        "bias": encoder.flag("use_bias", True),
        "dropout": encoder.share("dropout", 0.1),
    }


def _attention_context(encoder: Section) -> tuple[int, ...]:
    """Frames on the left and right, -1 for all. Of several choices, the first is the one of inference."""
    several = encoder.get("att_context_size")
    if isinstance(several, list) and several and isinstance(several[0], list):
        encoder = Section({**encoder.values, "att_context_size": several[0]}, encoder.name, encoder.root)
    context = encoder.numbers("att_context_size") or (-1, -1)
    if len(context) != 2 or min(context) < -1:
        raise ValueError(f"{encoder.name}: att_context_size {shown(context)} is not two numbers of at least -1")
    local = encoder.get("self_attention_model", "rel_pos") == "rel_pos_local_attn"
    if local and (context[0] != context[1] or context[0] < 1):
        raise ValueError(
            f"{encoder.name}: att_context_size {list(context)} is not supported with rel_pos_local_attn: it must be "
            "twice the same number, since NeMo adds the scores of positions to other offsets otherwise"
        )
    return context


def transducer_options(root: Section) -> dict[str, Any]:
    """Options of a ModelConfig for the sections `decoder` and `joint`."""
    decoder, joint = root.section("decoder"), root.section("joint")
    prednet, jointnet = decoder.section("prednet"), joint.section("jointnet")
    vocab_size = joint.number("num_classes")
    if decoder.number("vocab_size") != vocab_size:
        raise ValueError(f"{decoder.name}: vocab_size {decoder.number('vocab_size')} is not the joint's, {vocab_size}")
    options: dict[str, Any] = {
        "vocab_size": vocab_size + 1,
        "predictor_dim": prednet.number("pred_hidden"),
        "predictor_dropout": prednet.share("dropout", 0.0),
        "joiner_dim": jointnet.number("joint_hidden"),
        "joiner_dropout": jointnet.share("dropout", 0.0),
        "joiner_activation": jointnet.require("activation", None, "relu", "tanh", "sigmoid"),
        **_durations(root, joint.number("num_extra_outputs", 0)),
    }
    masking = joint.get("masking_prob", -1.0)
    options["predictor_masking"] = isinstance(masking, (int, float)) and masking > 0 and options["objective"] == "tdt"
    if _class_of(decoder) == "StatelessTransducerDecoder":
        return {
            **options,
            "predictor": "concat",
            "predictor_context": decoder.number("context_size", 1),
            "predictor_norm": decoder.require("normalization_mode", None, None, "layer") == "layer",
        }
    _require_class(decoder, "RNNTDecoder")
    decoder.require("normalization_mode", None, None)
    decoder.require("blank_as_pad", True, True)
    prednet.require("rnn_hidden_size", -1, -1, options["predictor_dim"])
    return {**options, "predictor": "lstm", "predictor_layers": prednet.number("pred_rnn_layers")}


def _durations(root: Section, count: int) -> dict[str, Any]:
    """A TDT has `count` outputs for durations, which the sections decoding, loss or model_defaults list."""
    if not count:
        return {"objective": "rnnt", "durations": (0,)}
    loss, decoding = root.section("loss"), root.section("decoding")
    if any("multiblank" in str(name) for name in (loss.get("loss_name"), decoding.get("model_type"))):
        raise ValueError(f"{root.name}: multi-blank transducers are not supported")
    stated = [
        decoding.numbers("durations"),
        loss.section("tdt_kwargs").numbers("durations"),
        root.section("model_defaults").numbers("tdt_durations"),
    ]
    durations = next((values for values in stated if values), None)
    if durations is None or len(durations) != count:
        raise ValueError(f"{root.name}: durations {shown(durations)} for {count} outputs of the joint")
    return {"objective": "tdt", "durations": durations}


def _ctc_head(decoder: Section) -> int:
    """V, blank included, of the section of a CTC decoder."""
    _require_class(decoder, "ConvASRDecoder")
    return decoder.number("num_classes") + 1


def _class_of(section: Section) -> str:
    target = section.get("_target_")
    return target.rpartition(".")[2] if isinstance(target, str) else ""


def _require_class(section: Section, name: str) -> None:
    if _class_of(section) != name:
        raise ValueError(f"{section.name}: {shown(section.get('_target_'))} is not supported: it must be a {name}")


def _plain(section: Section) -> dict[str, Any]:
    return {str(name): section.get(name) for name in section.values}
