"""Tokenizers of other toolkits keep their pieces, casing and punctuation; ids are theirs plus 1."""

import random
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.files.protobuf import Field
from hainan_k2.text import Tokenizer
from hainan_k2.text.imported import import_sentencepiece, import_tokenizer_json
from hainan_k2.text.piece_model import NORMAL_PIECE, Piece, PieceModel
from tests.text.pieces import TEXTS, packed, sentencepiece_model, tokenizer_json

MODEL = sentencepiece_model()
PLAIN = sentencepiece_model(normalization_rule_name="identity")  # without a table of characters
FROM_MODEL, FROM_JSON = import_sentencepiece(MODEL, "x"), import_tokenizer_json(packed(tokenizer_json(PLAIN)), "x", 120)
CHARACTERS = "".join(sorted(set("".join(TEXTS)))) + "▁  éß"


def test_sentencepiece_models_keep_pieces_and_text():
    processor = sentencepiece.SentencePieceProcessor(model_proto=MODEL)
    tokenizer = import_sentencepiece(MODEL, "tokenizer.model")
    assert tokenizer.pieces[:2] == ["<blk>", "<unk>"] and tokenizer.normalisation == "none"
    assert tokenizer.pieces[1:] == [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    for text in TEXTS:
        assert tokenizer.encode(text) == [i + 1 for i in processor.encode(text)]
        assert tokenizer.decode([0, *tokenizer.encode(text), 0]) == text
    assert "CALL" in tokenizer.decode(tokenizer.encode("CALL Dr. Smith!"))


@settings(max_examples=300, deadline=None)
@given(st.text(CHARACTERS, max_size=40))
def test_any_text_is_encoded_as_sentencepiece_does(text):
    processor = sentencepiece.SentencePieceProcessor(model_proto=MODEL)
    assert FROM_MODEL.encode(text) == [i + 1 for i in processor.encode(text)]
    plain = sentencepiece.SentencePieceProcessor(model_proto=PLAIN)
    assert FROM_JSON.encode(text) == [i + 1 for i in plain.encode(" ".join(text.split()))]


@pytest.mark.parametrize("kind", ["unigram", "char", "word"])
def test_other_types_of_sentencepiece_models(kind):
    model = sentencepiece_model(model_type=kind, vocab_size=60, user_defined_symbols=["<|en|>"], unk_piece="[UNK]")
    tokenizer, processor = import_sentencepiece(model, "x"), sentencepiece.SentencePieceProcessor(model_proto=model)
    assert tokenizer.pieces[:3] == ["<blk>", "<unk>", "<|en|>"]
    for text in (*TEXTS, "<|en|> Turn"):
        assert tokenizer.encode(text) == [i + 1 for i in processor.encode(text)]
    assert "<unk>" in tokenizer.decode(tokenizer.encode("quiz 日本"))


def test_a_tokenizer_survives_its_file(tmp_path):
    for made in (import_sentencepiece(MODEL, "x"), import_tokenizer_json(packed(tokenizer_json(MODEL)), "x", 120)):
        (tmp_path / "bpe.model").write_bytes(made.serialised())
        again = Tokenizer(tmp_path)
        assert again.pieces == made.pieces and again.normalisation == "none"
        assert again.serialised() == made.serialised()
        assert [again.encode(text) for text in TEXTS] == [made.encode(text) for text in TEXTS]


def test_normalisation_is_of_the_file_and_ours_remains_english():
    ours = Tokenizer(Path(__file__).parents[2] / "hainan_k2" / "released")
    assert ours.normalisation == "english" and ours.normalise("Room 7.") == "room seven"
    imported = import_sentencepiece(MODEL, "x")
    assert imported.normalise("  Room 7. ") == "Room 7."
    unknown = PieceModel.read(imported.serialised(), "x")
    model = PieceModel(unknown.pieces, unknown.trainer, unknown.normalizer, (Field(200, b"klingon"),))
    with pytest.raises(ValueError, match="^x: text normalisation 'klingon': it is english, .* or module:function"):
        Tokenizer.of_content(model.write(), "x")


def test_a_model_without_blank_is_told_how_to_get_one():
    with pytest.raises(ValueError, match="not <blk> and <unk>: train it with .* or import the model"):
        Tokenizer.of_content(MODEL, "x")


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(user_defined_symbols=["<blk>"]), "a piece is named <blk>"),
        (dict(unk_piece="[UNK]", user_defined_symbols=["<unk>"]), "a piece is named <unk>"),
        (dict(add_dummy_prefix=False), "add_dummy_prefix false"),
        (dict(treat_whitespace_as_suffix=True), "treat_whitespace_as_suffix"),
        (dict(split_by_whitespace=False), "pieces go across words"),
    ],
)
def test_sentencepiece_models_that_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=f"^tokenizer.model: .*{message}"):
        import_sentencepiece(sentencepiece_model(**options), "tokenizer.model")


def edited(**changes):
    model = PieceModel.read(MODEL, "x")
    return PieceModel(**{**vars(model), **changes}).write()


def test_edited_models():
    pieces = PieceModel.read(MODEL, "x").pieces
    for changed, message in (
        ((*pieces, Piece("zz", 0.0, 2)), "one unknown piece, this one 2"),
        (pieces[1:], "one unknown piece, this one 0"),
        ((*pieces, pieces[-1]), "is there twice"),
        ((), "it has no pieces"),
    ):
        with pytest.raises(ValueError, match=message):
            import_sentencepiece(edited(pieces=changed), "x")


def test_mutated_models_raise_value_error_and_nothing_else():
    outcomes = {"read": 0, "refused": 0}
    for seed in range(400):
        rng = random.Random(seed)
        content = bytearray(PLAIN)
        if seed % 2:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        else:
            at = rng.randrange(len(content))
            content[at : at + rng.randint(0, 20)] = bytes(rng.randrange(256) for _ in range(rng.randint(0, 20)))
        try:
            tokenizer = import_sentencepiece(bytes(content), "x")
            tokenizer.decode(tokenizer.encode(TEXTS[0]))
            outcomes["read"] += 1
        except ValueError as error:
            assert str(error).startswith("x") and "\n" not in str(error)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 5, outcomes
    whole = import_sentencepiece(PLAIN, "x").pieces
    for size in range(0, len(PLAIN), 7):
        try:
            assert import_sentencepiece(PLAIN[:size], "x").pieces == whole  # without sentencepiece's samples at the end
        except ValueError as error:
            assert str(error).startswith("x") and "\n" not in str(error)


def test_normal_pieces_have_no_type_in_the_file():
    """As sentencepiece writes them: the bytes of a model that is read and written are the same."""
    model = PieceModel.read(MODEL, "x")
    assert {piece.type for piece in model.pieces} == {NORMAL_PIECE, 2}
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.write())
    assert processor.encode(TEXTS[0]) == sentencepiece.SentencePieceProcessor(model_proto=MODEL).encode(TEXTS[0])
