"""Small pages with known results, and a reader of the data in a page."""

import html.parser
import json
import re

from hypothesis import strategies as st

from hainan_k2.inference.decoded import Decoded
from hainan_k2.report import Detail, Page
from hainan_k2.result import Hypothesis, Token, Word
from tests.toy import ROOT

JFK = ROOT / "tests" / "data" / "jfk.flac"
SECONDS = 2.0  # of JFK, in the pages of twenty utterances
EVIL = "</script><script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">{{style}}<!--"
PIECES = ["<blk>", "<unk>", "▁the", "▁cat", "▁sat", "s", EVIL]
texts = st.lists(st.sampled_from("abcd"), max_size=6).map(" ".join)


def hypothesis_of(text, confidence=0.9, score=-1.0, start=0.0, alternatives=()):
    """A hypothesis whose words last 0.4 s each."""
    words = tuple(
        Word(word, round(start + 0.4 * i, 2), round(start + 0.4 * i + 0.4, 2), confidence)
        for i, word in enumerate(text.split())
    )
    tokens = tuple(Token(2 + i % 4, 5 * i, 5, confidence) for i in range(len(words)))
    return Hypothesis(tokens, score, 5 * len(words), words, text, alternatives)


def page_of(*utterances, labels=("ar-greedy", "nar-greedy"), details=None, **fields):
    """A page of utterances, each (id, reference, one text per label)."""
    decoded = [
        Decoded(name, reference, 2.0, {label: hypothesis_of(text) for label, text in zip(labels, texts)}, {})
        for name, reference, *texts in utterances
    ]
    return Page(
        "a page", labels, decoded, PIECES, {d.id: Detail() for d in decoded} if details is None else details, **fields
    )


def evil_page():
    evil = Hypothesis((Token(6, 0, 2, 0.5),), -1.0, 9, (Word(EVIL, 0.0, 0.5, 0.5),), EVIL, note=EVIL)
    decoded = [Decoded(EVIL, EVIL, 1.0, {"ar-greedy": evil}, {"nar-greedy": EVIL})]
    return Page(EVIL, ("ar-greedy", "nar-greedy"), decoded, PIECES, {EVIL: Detail(None, (evil,))}, {}, ((EVIL, EVIL),))


def data_in(document):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', document, re.S)[1])


class Parsed(html.parser.HTMLParser):
    def __init__(self, document):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(document)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attributes]
