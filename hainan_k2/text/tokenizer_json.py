"""The tokenizer.json of the tokenizers package as a sentencepiece model.

Converted are the tokenizers that transformers makes of sentencepiece models: BPE or Unigram, a precompiled table of
characters, spaces written as "▁". Everything else is refused by name.

BPE: the tokenizers package merges the pair of pieces that comes first in the list of merges; sentencepiece merges the
pair whose joined piece has the highest score. Both encode alike where the list has all pairs of pieces that are a
piece when joined, ordered by that piece; lists that transformers makes have. Other lists are converted with a warning.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from hainan_k2.config import shown
from hainan_k2.files.protobuf import Field
from hainan_k2.result import WORD_START
from hainan_k2.text import piece_model as pm
from hainan_k2.text.piece_model import Piece, PieceModel

logger = logging.getLogger(__name__)

MAX_PIECES = 10**6
BYTES = {f"<0x{byte:02X}>" for byte in range(256)}
_SPACES = [{"Regex": " {2,}"}, {"Regex": r"\A +| +\z"}]  # patterns of steps that remove spaces
_ESCAPES = [{"String": " "}, {"Regex": r"\A▁"}]  # of steps that write them as "▁", as sentencepiece does


def read_tokenizer_json(content: bytes, where: str, blank: int) -> PieceModel:
    """The model of a tokenizer.json, before `with_blank`.

    Args:
      blank: the number of the model's blank, which comes after all pieces.
    Raises:
      ValueError: beginning with `where`, for damaged files and for what sentencepiece cannot do alike.
    """
    try:
        document = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON: {error}") from None
    model = document.get("model") if isinstance(document, dict) else None
    if not isinstance(model, dict) or model.get("type") not in ("BPE", "Unigram"):
        kind = model.get("type") if isinstance(model, dict) else None
        raise ValueError(f"{where}: a tokenizer of type {shown(kind)}: BPE and Unigram are supported")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise ValueError(f"{where}: a tokenizer with {name} {shown(model[name])} is not supported")
    isolated = _isolated(document.get("pre_tokenizer"), where)
    normalizer = _normalizer(document.get("normalizer"), document.get("pre_tokenizer"), where)
    pieces, unknown = _pieces(model, document.get("added_tokens") or [], isolated, where, blank)
    trainer = [
        Field(pm.MODEL_TYPE, pm.BPE if model["type"] == "BPE" else pm.UNIGRAM),
        Field(pm.VOCAB_SIZE, len(pieces)),
        Field(pm.BYTE_FALLBACK, int(any(piece.type == pm.BYTE_PIECE for piece in pieces))),
        Field(pm.UNK_ID, unknown),
        *(Field(number, -1) for number in (pm.BOS_ID, pm.EOS_ID, pm.PAD_ID)),
    ]
    return PieceModel(tuple(pieces), tuple(trainer), tuple(normalizer))


def _pieces(model: Mapping[str, Any], added: Any, isolated: str, where: str, blank: int) -> tuple[list[Piece], int]:
    """The pieces by number, and the number of the unknown one."""
    vocabulary, scores = _vocabulary(model, where)
    types: dict[str, int] = {}
    for token in added if isinstance(added, list) else [added]:
        if not isinstance(token, dict) or not isinstance(token.get("content"), str) or type(token.get("id")) is not int:
            raise ValueError(f"{where}: an added token is {shown(token)}")
        if vocabulary.setdefault(token["content"], token["id"]) != token["id"]:
            raise ValueError(f"{where}: {shown(token['content'])} has two numbers")
        types[token["content"]] = pm.CONTROL_PIECE if token.get("special") else pm.USER_PIECE
    by_id = {number: piece for piece, number in vocabulary.items() if number != blank}
    if not 0 < blank <= MAX_PIECES or len(by_id) != blank or set(by_id) != set(range(blank)):
        raise ValueError(
            f"{where}: {len(by_id)} pieces besides the blank, number {blank}: they must be 0 to {blank - 1}"
        )
    unknown = _unknown(model, by_id, where)
    types[by_id[unknown]] = pm.UNKNOWN_PIECE
    has_bytes = BYTES & set(vocabulary)
    if model.get("byte_fallback") and has_bytes and has_bytes != BYTES:
        raise ValueError(f"{where}: byte_fallback with {len(has_bytes)} of 256 bytes is not supported")
    if model.get("byte_fallback"):
        types.update({byte: pm.BYTE_PIECE for byte in has_bytes})
    if model["type"] == "BPE":
        scores = _scores_of_merges(model.get("merges"), vocabulary, types, isolated, where)
    lowest = min(scores.values(), default=0.0)
    ordered = [Piece(by_id[i], scores.get(by_id[i], lowest - 1), types.get(by_id[i], 1)) for i in range(blank)]
    return ordered, unknown


def _vocabulary(model: Mapping[str, Any], where: str) -> tuple[dict[str, int], dict[str, float]]:
    """The numbers of pieces and, of a Unigram model, their scores."""
    listed = model.get("vocab")
    if model["type"] == "BPE":
        if isinstance(listed, dict) and all(type(number) is int for number in listed.values()):
            return dict(listed), {}
    elif isinstance(listed, list):
        pairs = [p for p in listed if isinstance(p, list) and len(p) == 2 and isinstance(p[0], str)]
        if len(pairs) == len(listed) and all(type(score) in (int, float) for _, score in pairs):
            numbers = {piece: number for number, (piece, _) in enumerate(pairs)}
            return numbers, {piece: float(score) for piece, score in pairs}
    raise ValueError(f"{where}: the vocabulary is not as a {model['type']} model has it")


def _unknown(model: Mapping[str, Any], by_id: Mapping[int, str], where: str) -> int:
    if model["type"] == "Unigram":
        number = model.get("unk_id")
        if type(number) is int and number in by_id:
            return number
    else:
        for number, piece in by_id.items():
            if piece == model.get("unk_token"):
                return number
    raise ValueError(f"{where}: a tokenizer without a piece for unknown letters is not supported")


def _scores_of_merges(
    merges: Any, vocabulary: Mapping[str, int], types: dict[str, int], isolated: str, where: str
) -> dict[str, float]:
    """Scores of pieces: 0 for the piece that is merged first, -1 for the next ... Pieces that no merge makes become
    user-defined ones in `types` if they are `isolated`, else unused ones."""
    if not isinstance(merges, list):
        raise ValueError(f"{where}: a BPE model without merges")
    order: dict[str, int] = {}
    pairs: set[tuple[str, str]] = set()
    scattered, last = 0, ""
    for merge in merges:
        pair = tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) if isinstance(merge, list) else ()
        if len(pair) != 2 or not all(isinstance(p, str) and p in vocabulary for p in pair):
            raise ValueError(f"{where}: the merge {shown(merge)} is not one of two pieces")
        joined = pair[0] + pair[1]
        if joined not in vocabulary:
            raise ValueError(f"{where}: the merge {shown(merge)} makes {shown(joined)}, which is not a piece")
        scattered += joined in order and joined != last
        order.setdefault(joined, len(order))
        pairs.add((pair[0], pair[1]))
        last = joined
    plain = [piece for piece in vocabulary if types.get(piece, pm.NORMAL_PIECE) == pm.NORMAL_PIECE]
    usable = set(plain)
    possible = sum((p[:i], p[i:]) not in pairs for p in order for i in range(1, len(p)) if {p[:i], p[i:]} <= usable)
    never = [piece for piece in plain if len(piece) > 1 and piece not in order]
    types.update({piece: pm.USER_PIECE if re.escape(piece) in isolated else pm.UNUSED_PIECE for piece in never})
    never = [piece for piece in never if types[piece] == pm.UNUSED_PIECE]
    if scattered or possible or never:
        logger.warning(
            "%s: text may be encoded otherwise than by the tokenizers package: %d merges are out of order, %d are "
            "missing, and %d pieces are never made",
            where,
            scattered,
            possible,
            len(never),
        )
    return {piece: -float(rank) for piece, rank in order.items()}


def _normalizer(normalizer: Any, pre_tokenizer: Any, where: str) -> list[Field]:
    """Fields of the NormalizerSpec: the table of characters, and what is done to spaces."""
    charsmap, strips = b"", False
    for step in _steps(normalizer, "normalizers"):
        kind = step.get("type")
        if kind == "Precompiled" and not charsmap:
            charsmap = _charsmap(step.get("precompiled_charsmap"), where)
        elif kind == "Strip" or kind == "Replace" and step.get("pattern") in _SPACES:
            strips = True
        elif kind == "Replace" and step.get("pattern") in _ESCAPES and step.get("content") in ("▁", "▁▁"):
            pass
        elif kind != "Prepend" or step.get("prepend") != WORD_START:
            raise _unsupported(where, "normalizer", step)
    prefix: Optional[bool] = None
    for step in _steps(pre_tokenizer, "pretokenizers"):
        kind = step.get("type")
        if kind == "WhitespaceSplit":
            strips = True
        elif kind == "Metaspace" and step.get("replacement") == WORD_START:
            prefix = step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) else "never") != "never"
        elif kind != "Split":
            raise _unsupported(where, "pre_tokenizer", step)
    if not prefix and not any(step.get("type") == "Prepend" for step in _steps(normalizer, "normalizers")):
        raise ValueError(f"{where}: a tokenizer whose words do not begin with {WORD_START} is not supported")
    spaces = [Field(pm.DUMMY_PREFIX, 1), Field(pm.EXTRA_SPACES, int(strips)), Field(pm.ESCAPE, 1)]
    return [Field(pm.CHARSMAP, charsmap), *spaces]


def _isolated(pre_tokenizer: Any, where: str) -> str:
    """The pattern of the pieces that are kept whole: transformers writes user-defined pieces of sentencepiece so."""
    patterns = []
    for step in _steps(pre_tokenizer, "pretokenizers"):
        if step.get("type") == "Split":
            pattern = step.get("pattern")
            regex = pattern.get("Regex") if isinstance(pattern, dict) else None
            if step.get("behavior") != "Isolated" or not isinstance(regex, str):
                raise _unsupported(where, "pre_tokenizer", step)
            patterns.append(regex)
    return "|".join(patterns)


def _steps(step: Any, parts: str) -> Sequence[Mapping[str, Any]]:
    """The steps of a Sequence, or the one step; none for null."""
    if isinstance(step, dict) and step.get("type") == "Sequence" and isinstance(step.get(parts), list):
        return [inner if isinstance(inner, dict) else {"type": inner} for inner in step[parts]]
    if step is None:
        return []
    return [step if isinstance(step, dict) else {"type": step}]


def _charsmap(encoded: Any, where: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ValueError(f"{where}: the precompiled table of characters is damaged") from None


def _unsupported(where: str, name: str, step: Mapping[str, Any]) -> ValueError:
    return ValueError(f"{where}: a tokenizer with the {name} {shown(step.get('type'))} {shown(step)} is not supported")
