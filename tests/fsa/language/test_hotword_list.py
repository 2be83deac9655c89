import pytest

from hainan_k2.fsa.language.hotword_list import read_hotwords, read_phrases
from hainan_k2.search import METHODS
from hainan_k2.search.resources import ResourceConfig, load_resources
from hainan_k2.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(toy):
    return Tokenizer(toy / "lang")


def write(folder, content):
    path = folder / "hotwords.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_lines_are_phrases_with_weights(tokenizer, tmp_path):
    path = write(tmp_path, "\ufeff# names\r\n\nAlfa, BRAVO!\n  echo fox :2.5\ngolf : 0\n#:3\n")
    phrases = read_phrases(path, tokenizer)
    assert {tokenizer.decode(ids): weight for ids, weight in phrases.items()} == {
        "alfa bravo": 1.0,
        "echo fox": 2.5,
        "golf": 0.0,
    }
    assert all(tokenizer.encode(tokenizer.decode(ids)) == list(ids) for ids in phrases)


def test_a_phrase_matches_whole_words_only(tokenizer, tmp_path):
    graph = read_hotwords(write(tmp_path, "echo\nhotel alfa :2\n"), tokenizer)
    texts = ["echo fox", "fox echo", "hotel alfa echo", "hotel", "fox alfa"]
    long = 2.0 * len(tokenizer.encode("hotel alfa"))
    short = float(len(tokenizer.encode("echo")))
    assert graph.score([tokenizer.encode(t) for t in texts]).tolist() == [short, short, long + short, 0.0, 0.0]
    continued = next(i for i in range(2, tokenizer.vocab_size) if not tokenizer.pieces[i].startswith("▁"))
    assert graph.score([[*tokenizer.encode("echo"), continued]]).tolist() == [0.0]


def test_repeated_phrases_count_once_and_are_reported(tokenizer, tmp_path, caplog):
    path = write(tmp_path, "alfa :2\nAlfa :2.0\nbravo\nALFA! :2\n")
    assert len(read_phrases(path, tokenizer)) == 2
    assert caplog.messages == [f"{path}: 2 of 4 lines repeat a phrase"]


@pytest.mark.parametrize(
    "content, line, complaint",
    [
        ("alfa\nbravo :much\n", 2, "the weight 'much' is not a number"),
        ("alfa :\n", 1, "the weight '' is not a number"),
        ("alfa :nan\n", 1, "the weight nan should be finite and not negative"),
        ("alfa :-1\n", 1, "the weight -1 should be finite and not negative"),
        ("alfa :1e999\n", 1, "the weight 1e999 should be finite"),
        ("alfa\n\n?! :2\n", 3, r"the normal form of '\?!' is empty"),
        (":2\n", 1, "the normal form of '' is empty"),
        ("alfa\nжук\n", 2, "'жук' has letters that the tokenizer does not know"),
        (b"alfa\n\xff\xfe\n", 2, "this is not UTF-8 text"),
        ("alfa\nbravo\nAlfa :3\n", 3, "'Alfa :3' has the weight 3 here and 1 in line 1"),
    ],
)
def test_bad_lines_are_named(tokenizer, tmp_path, content, line, complaint):
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=f"{path}:{line}: {complaint}"):
        read_phrases(path, tokenizer)


def test_files_without_phrases_are_refused(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="there is no hotword in it"):
        read_phrases(write(tmp_path, "# nothing\n\n"), tokenizer)
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match=f"no file of hotwords at {path}"):
            read_phrases(path, tokenizer)


def test_they_are_loaded_with_the_other_resources(tokenizer, tmp_path):
    path = write(tmp_path, "alfa\n")
    assert load_resources(ResourceConfig(), tokenizer).hotwords is None
    resources = load_resources(ResourceConfig(hotwords=str(path)), tokenizer)
    assert resources.hotwords.vocab_size == tokenizer.vocab_size
    assert "hotwords" in METHODS["ar-greedy"].uses
