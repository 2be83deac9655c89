"""Compiles lexicon and word-level language model into the graph that `decode.py --method graph --graph LG.pt` searches.

    python lang/compile_graph.py --lang-dir data/lang_bpe_128 --g data/lm/G.fst.txt --out-dir data/graph
    python lang/compile_graph.py --lang-dir data/lang_bpe_128 --g data/lm/G.fst.txt --out-dir data/graph \\
        --durations 0,1,2,3,4,5,6,7,8

The first writes `LG.pt`, and `L.pt`, the lexicon's transducer with disambiguation symbols, for compositions of your own
(`k2.Fsa.from_dict(torch.load("L.pt"))`; `#k` has the id k after the last token). The second writes `TLG.pt` as well:
LG composed with the TDT topology of these durations, which decode.py otherwise does each time.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from hainan_k2.config import fail, option, parse
from hainan_k2.fsa.acceptor import read_acceptor
from hainan_k2.fsa.decoding_graph import DecodingGraph
from hainan_k2.fsa.k2 import why_no_k2
from hainan_k2.fsa.lexicon import lexicon_fst, read_lexicon
from hainan_k2.fsa.topology import compile_tdt_graph
from hainan_k2.fsa.word_graph import spell_out
from hainan_k2.text import Tokenizer


@dataclass(frozen=True)
class GraphConfig:
    lang_dir: str = option("", "folder with bpe.model, words.txt and lexicon.txt (required)")
    g: str = option("", "G.fst.txt of lang/arpa_to_fst.py, or any acceptor of word ids in OpenFst text (required)")
    out_dir: str = option("", "folder to write to (required)")
    durations: tuple[int, ...] = option((), "the model's durations, e.g. 0,1,2,4,8: writes TLG.pt too")


def compile_graph(config: GraphConfig) -> None:
    """Read, compile, write. ValueError on what does not fit together."""
    tokenizer, folder = Tokenizer(config.lang_dir), Path(config.out_dir)
    lexicon = read_lexicon(Path(config.lang_dir), tokenizer.pieces)
    grammar = read_acceptor(Path(config.g).read_text(encoding="utf-8"), config.g, len(lexicon.words))
    fsa, unspelled = spell_out(grammar, lexicon)
    if unspelled:
        logging.warning("%d of %d word arcs of %s have words without spelling: left out", unspelled,
                        len(grammar.label), config.g)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(lexicon_fst(lexicon, tokenizer.vocab_size).as_dict(), folder / "L.pt")
    graphs = {"LG.pt": DecodingGraph.of(fsa, lexicon.words, tokenizer.pieces)}
    if config.durations:
        composed = compile_tdt_graph(fsa, tokenizer.vocab_size, config.durations)
        graphs["TLG.pt"] = DecodingGraph.of(composed, lexicon.words, tokenizer.pieces, config.durations)
    for name, graph in graphs.items():
        graph.save(folder / name)
        logging.info("%s: %d states, %d arcs", folder / name, int(graph.arcs[:, 1].max()) + 1, len(graph.arcs))


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    config, = parse(None, __doc__.split("\n")[0], GraphConfig)
    if not config.lang_dir or not config.g or not config.out_dir:
        fail("give --lang-dir, --g and --out-dir")
    if why_no_k2():
        fail(f"compiling a graph needs k2: {why_no_k2()}")
    try:
        compile_graph(config)
    except (ValueError, OSError) as error:
        fail(str(error))


if __name__ == "__main__":
    main()
