"""tokenizer.json as a sentencepiece model: the ids of the tokenizers package, and what is refused by name."""

import copy
import gzip
import json
import logging
from pathlib import Path

import pytest
import sentencepiece

from hainan_k2.text.imported import import_tokenizer_json
from hainan_k2.text.piece_model import BYTE_PIECE, PieceModel
from tests.text.pieces import TEXTS, packed, sentencepiece_model, tokenizer_json

DATA = Path(__file__).parents[1] / "data" / "cased_tokenizer.json.gz"
MODEL = sentencepiece_model()
PLAIN = sentencepiece_model(normalization_rule_name="identity")  # without a table of characters


@pytest.fixture(scope="module")
def theirs():
    """A tokenizer.json of transformers, sentences, and the ids that the tokenizers package (0.23.3) gives them.

    700 pieces trained on the descriptions of Python packages, with bytes for rare letters, a table of characters
    (nmt_nfkc) and the symbols <|nospeech|> and <|en|>, converted by transformers 5.24.
    """
    return json.loads(gzip.decompress(DATA.read_bytes()))


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
        (("pre_tokenizer", {"type": "Split", "pattern": {"String": "x"}}), "the pre_tokenizer 'Split'"),
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


def test_user_defined_pieces_that_a_pre_tokenizer_keeps_whole(caplog):
    """As transformers 5 writes them for sentencepiece models of no known class: in no list, but in a pattern."""
    document = tokenizer_json(MODEL)
    document["model"]["vocab"]["<|en|>"] = 120
    metaspace = {**document["pre_tokenizer"], "split": False}
    split = {"type": "Split", "pattern": {"Regex": r"<\|en\|>"}, "behavior": "Isolated", "invert": False}
    document["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [metaspace, split]}
    document["normalizer"]["normalizers"] += [
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        {"type": "Replace", "pattern": {"Regex": r"\A▁"}, "content": "▁▁"},
    ]
    with caplog.at_level(logging.WARNING):
        tokenizer = import_tokenizer_json(packed(document), "x", 121)
    assert not caplog.records
    ids = tokenizer.encode("Turn <|en|> on")
    assert tokenizer.pieces[121] == "<|en|>" and 121 in ids and tokenizer.decode(ids) == "Turn on"


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
