"""Small cased tokenizers of other toolkits, made for a test."""

from __future__ import annotations

import io
import json
from typing import Any

import sentencepiece

TEXTS = (
    "Turn on the Light! Call Dr. Smith, please.",
    "I don't know what you're doing, but it's OK.",
    "Ask not what your country can do for you; ask what you can do for your country.",
    "CALL me at 10:30 or at 11:45, will you?",
    "The lights in the town were turned on again, one by one.",
)


def sentencepiece_model(**options: Any) -> bytes:
    """A sentencepiece BPE model of TEXTS as NeMo trains them: <unk> is id 0, text is not lower-cased."""
    model = io.BytesIO()
    settings = dict(model_type="bpe", vocab_size=120, hard_vocab_limit=False, unk_id=0, bos_id=-1, eos_id=-1)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 3), model_writer=model, minloglevel=2, num_threads=1, **{**settings, **options}
    )
    return model.getvalue()


def tokenizer_json(model: bytes) -> dict[str, Any]:
    """The tokenizer.json that transformers makes of a BPE model without a table of characters."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    ids = {piece: i for i, piece in enumerate(pieces)}
    merges = [
        (-processor.get_score(i), len(piece) - split, [piece[:split], piece[split:]])
        for i, piece in enumerate(pieces)
        for split in range(1, len(piece))
        if {piece[:split], piece[split:]} <= set(ids) and not piece.startswith("<")
    ]
    return {
        "added_tokens": [{"id": 0, "content": "<unk>", "special": True}],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Strip", "strip_left": False, "strip_right": True},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
            ],
        },
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": ids,
            "merges": [pair for _, _, pair in sorted(merges)],
        },
    }


def packed(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8")
