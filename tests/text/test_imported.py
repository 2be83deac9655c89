"""Tokenizers of other toolkits keep their pieces, casing and punctuation; ids are theirs plus 1."""

import copy
import gzip
import json
import logging
import random
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from hainan_k2.files.protobuf import Field
from hainan_k2.text import Tokenizer
from hainan_k2.text.imported import import_sentencepiece, import_tokenizer_json
from hainan_k2.text.piece_model import BYTE_PIECE, NORMAL_PIECE, Piece, PieceModel
from tests.text.pieces import TEXTS, packed, sentencepiece_model, tokenizer_json

DATA = Path(__file__).parents[1] / "data" / "cased_tokenizer.json.gz"
MODEL = sentencepiece_model()
PLAIN = sentencepiece_model(normalization_rule_name="identity")  # without a table of characters
CHARACTERS = "".join(sorted(set("".join(TEXTS)))) + "▁  éß"


@pytest.fixture(scope="module")
def theirs():
    """A tokenizer.json of transformers, sentences, and the ids that the tokenizers package (0.23.3) gives them.

    700 pieces trained on the descriptions of Python packages, with bytes for rare letters, a table of characters
    (nmt_nfkc) and the symbols <|nospeech|> and <|en|>, converted by transformers 5.24.
    """
    return json.loads(gzip.decompress(DATA.read_bytes()))


def test_sentencepiece_models_keep_pieces_and_text():
    processor = sentencepiece.SentencePieceProcessor(model_proto=MODEL)
    tokenizer = import_sentencepiece(MODEL, "tokenizer.model")
    assert tokenizer.pieces[:2] == ["<blk>", "<unk>"] and tokenizer.normalisation == "none"
    assert tokenizer.pieces[1:] == [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    for text in TEXTS:
        assert tokenizer.encode(text) == [i + 1 for i in processor.encode(text)]
        assert tokenizer.decode([0, *tokenizer.encode(text), 0]) == text
    assert "CALL" in tokenizer.decode(tokenizer.encode("CALL Dr. Smith!"))


FROM_MODEL, FROM_JSON = import_sentencepiece(MODEL, "x"), import_tokenizer_json(packed(tokenizer_json(PLAIN)), "x", 120)


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


def test_the_ids_of_the_tokenizers_package(theirs, caplog):
    with caplog.at_level(logging.WARNING):
        tokenizer = import_tokenizer_json(packed(theirs["tokenizer"]), "tokenizer.json", 700)
    assert not caplog.records and tokenizer.vocab_size == 701
    differing = [
        text for text, ids in zip(theirs["sentences"], theirs["ids"]) if [i - 1 for i in tokenizer.encode(text)] != ids
    ]
    assert len(theirs["sentences"]) == 200
    assert differing == ["<|nospeech|> hi"]  # a symbol at the start of a text: theirs has no "▁" before it


def test_symbols_are_no_text_and_bytes_are_letters(theirs):
    tokenizer = import_tokenizer_json(packed(theirs["tokenizer"]), "tokenizer.json", 700)
    text = "日本 and “quotes” 😀"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text and any(tokenizer.pieces[i].startswith("<0x") for i in ids)
    symbol = tokenizer.pieces.index("<|nospeech|>")
    assert tokenizer.decode([symbol, *ids, symbol]) == text


def test_normalisation_is_of_the_file_and_ours_remains_english():
    ours = Tokenizer("hainan_k2/released" if Path("hainan_k2/released").is_dir() else _released())
    assert ours.normalisation == "english" and ours.normalise("Room 7.") == "room seven"
    imported = import_sentencepiece(MODEL, "x")
    assert imported.normalise("  Room 7. ") == "Room 7."
    unknown = PieceModel.read(imported.serialised(), "x")
    model = PieceModel(unknown.pieces, unknown.trainer, unknown.normalizer, (Field(200, b"german"),))
    with pytest.raises(ValueError, match="^x: text normalisation b'german': this version knows english, none"):
        Tokenizer.of_content(model.write(), "x")


def _released() -> Path:
    return Path(__file__).parents[2] / "hainan_k2" / "released"


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


def change(document, *path_and_value):
    *path, last, value = path_and_value
    target = document
    for key in path:
        target = target[key]
    target[last] = value
    return document


@pytest.mark.parametrize(
    "path_and_value, message",
    [
        (("model", "type", "WordPiece"), "of type 'WordPiece': BPE and Unigram are supported"),
        (("model", "dropout", 0.1), "dropout 0.1 is not supported"),
        (("model", "end_of_word_suffix", "</w>"), "end_of_word_suffix '</w>'"),
        (("model", "continuing_subword_prefix", "##"), "continuing_subword_prefix '##'"),
        (("model", "unk_token", None), "without a piece for unknown letters"),
        (("model", "merges", None), "a BPE model without merges"),
        (("model", "merges", [["a", "zzz"]]), "is not one of two pieces"),
        (("model", "merges", [["▁", "Q"]]), "is not one of two pieces"),
        (("model", "merges", ["e e"]), "makes 'ee', which is not a piece"),
        (("model", "merges", [3]), "the merge 3"),
        (("model", "vocab", {"a": "b"}), "the vocabulary is not as a BPE model has it"),
        (("model", "vocab", []), "the vocabulary is not as a BPE model has it"),
        (("model", "vocab", "a", 10**12), "they must be 0 to 119"),
        (("normalizer", {"type": "Lowercase"}), "the normalizer 'Lowercase'"),
        (("normalizer", {"type": "Precompiled", "precompiled_charsmap": "%"}), "table of characters is damaged"),
        (("pre_tokenizer", {"type": "ByteLevel"}), "the pre_tokenizer 'ByteLevel'"),
        (("pre_tokenizer", None), "words do not begin with ▁"),
        (("pre_tokenizer", "prepend_scheme", "never"), "words do not begin with ▁"),
        (("added_tokens", [{"id": 5, "content": "<unk>"}]), "'<unk>' has two numbers"),
        (("added_tokens", [{"id": "5", "content": "<x>"}]), "an added token is"),
        (("added_tokens", [7]), "an added token is 7"),
    ],
)
def test_documents_that_are_refused_by_name(path_and_value, message):
    document = change(tokenizer_json(MODEL), *path_and_value)
    with pytest.raises(ValueError, match="^tokenizer.json: ") as error:
        import_tokenizer_json(packed(document), "tokenizer.json", 120)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"{}", b"\xff", b'{"model": 3}', b"[" * 100000])
def test_files_that_are_no_tokenizer(content):
    with pytest.raises(ValueError, match="^tokenizer.json"):
        import_tokenizer_json(content, "tokenizer.json", 120)


def test_merges_that_sentencepiece_cannot_follow_are_counted(caplog):
    document = tokenizer_json(MODEL)
    merges = document["model"]["merges"]
    lost = "".join(merges[-1])
    document["model"]["merges"] = [pair for pair in merges if "".join(pair) != lost]
    with caplog.at_level(logging.WARNING):
        tokenizer = import_tokenizer_json(packed(document), "tokenizer.json", 120)
    assert "tokenizer.json: text may be encoded otherwise" in caplog.text and "1 pieces are never made" in caplog.text
    assert lost in tokenizer.pieces  # its number stays


def test_the_blank_may_be_among_the_added_tokens_or_not():
    document = tokenizer_json(MODEL)
    plain = import_tokenizer_json(packed(document), "x", 120)
    document["added_tokens"].append({"id": 120, "content": "<pad>", "special": True})
    assert import_tokenizer_json(packed(document), "x", 120).pieces == plain.pieces
    with pytest.raises(ValueError, match="they must be 0 to 118"):
        import_tokenizer_json(packed(document), "x", 119)


def test_bytes_are_all_there_or_none(theirs):
    document = copy.deepcopy(theirs["tokenizer"])
    read = PieceModel.read(import_tokenizer_json(packed(document), "x", 700).serialised(), "x")
    assert sum(piece.type == BYTE_PIECE for piece in read.pieces) == 256
    document["model"]["vocab"]["odd"] = document["model"]["vocab"].pop("<0x41>")
    with pytest.raises(ValueError, match="byte_fallback with 255 of 256 bytes"):
        import_tokenizer_json(packed(document), "x", 700)
    document["model"]["byte_fallback"] = False
    read = PieceModel.read(import_tokenizer_json(packed(document), "x", 700).serialised(), "x")
    assert not sum(piece.type == BYTE_PIECE for piece in read.pieces)


def test_unigram_documents():
    model = sentencepiece_model(model_type="unigram", vocab_size=60)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    size = processor.get_piece_size()
    document = tokenizer_json(MODEL)
    document["model"] = {
        "type": "Unigram",
        "unk_id": 0,
        "vocab": [[processor.id_to_piece(i), processor.get_score(i)] for i in range(size)],
    }
    tokenizer = import_tokenizer_json(packed(document), "x", size)
    for text in TEXTS:
        assert tokenizer.encode(text) == [i + 1 for i in processor.encode(text)]


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


def test_mutated_documents_raise_value_error_and_nothing_else():
    """Every value of a document replaced by values of other types."""

    def places(node, path=()):
        yield path
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in list(items)[:4]:
            yield from places(value, (*path, key))

    whole = tokenizer_json(PLAIN)
    for path in places(whole):
        for value in (None, -1, 2**70, 1.5, "x", [], [None], {}, {"type": []}, True):
            document = change(copy.deepcopy(whole), *path, value) if path else value
            try:
                import_tokenizer_json(packed(document), "x", 120)
            except ValueError as error:
                assert str(error).startswith("x") and "\n" not in str(error)


def test_normal_pieces_have_no_type_in_the_file():
    """As sentencepiece writes them: the bytes of a model that is read and written are the same."""
    model = PieceModel.read(MODEL, "x")
    assert {piece.type for piece in model.pieces} == {NORMAL_PIECE, 2}
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.write())
    assert processor.encode(TEXTS[0]) == sentencepiece.SentencePieceProcessor(model_proto=MODEL).encode(TEXTS[0])
