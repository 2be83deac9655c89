"""Compiles lexicon and word-level language model into the graph of `decode.py --method graph --graph LG.safetensors`.

    hainan-compile-graph --lang-dir data/lang_bpe_128 --g data/lm/G.fst.txt --out-dir data/graph
    hainan-compile-graph --lang-dir data/lang_bpe_128 --g data/lm/G.fst.txt --out-dir data/graph \\
        --durations 0,1,2,3,4,5,6,7,8

The first writes `LG.safetensors`, and for other compositions `L.safetensors`, the transducer of the lexicon with
disambiguation symbols: `k2.Fsa.from_dict(safetensors.torch.load_file("L.safetensors"))` loads it; the id of `#k` is the
number of tokens + k. The second also writes `TLG.safetensors`, LG composed with the TDT topology of these durations,
which decode.py otherwise composes at every start. `--format k2` adds `LG.pt`, which
`k2.Fsa.from_dict(torch.load("LG.pt"))` loads.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from hainan_k2.cli import fail, parse, start_logging
from hainan_k2.config import first_names, option
from hainan_k2.files.container import Kind, write_container
from hainan_k2.fsa.k2 import why_no_k2
from hainan_k2.fsa.k2_file import write_k2
from hainan_k2.fsa.language.acceptor import read_acceptor
from hainan_k2.fsa.language.lexicon import lexicon_fst, read_lexicon
from hainan_k2.fsa.language.openfst import read_text
from hainan_k2.fsa.language.word_graph import spell_out
from hainan_k2.fsa.lattices.decoding_graph import DecodingGraph
from hainan_k2.fsa.lattices.topology import compile_tdt_graph
from hainan_k2.text import Tokenizer

KIND = Kind("lexicon transducer", "hainan-compile-graph")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GraphConfig:
    lang_dir: str = option("", "folder with bpe.model, words.txt and lexicon.txt (required)")
    g: str = option("", "G.fst.txt of hainan-arpa-to-fst, or any acceptor of word ids in OpenFst text (required)")
    out_dir: str = option("", "folder to write to (required)")
    durations: tuple[int, ...] = option(
        (), "the model's durations, e.g. 0,1,2,4,8: also writes TLG.safetensors", at_least=0, at_most=1000
    )
    format: tuple[str, ...] = option((), "k2: also write LG.pt", ("k2",))


def compile_graph(config: GraphConfig) -> None:
    """Reads lexicon and G, writes the graphs; ValueError where the files do not match."""
    tokenizer, folder = Tokenizer(config.lang_dir), Path(config.out_dir)
    lexicon = read_lexicon(Path(config.lang_dir), tokenizer.pieces)
    grammar = read_acceptor(read_text(config.g), config.g, len(lexicon.words))
    fsa, unspellable = spell_out(grammar, lexicon)
    if len(unspellable):
        names = [lexicon.words[word] for word in sorted(set(unspellable.tolist()))]
        logger.warning(
            "%d of %d word arcs of %s have words without spelling and are left out (%s)",
            len(unspellable),
            len(grammar.label),
            config.g,
            first_names(names),
        )
    folder.mkdir(parents=True, exist_ok=True)
    transducer = lexicon_fst(lexicon, tokenizer.vocab_size).as_dict()
    write_container(folder / "L.safetensors", KIND, {name: transducer[name] for name in ("arcs", "aux_labels")}, {})
    if config.format:
        write_k2(folder / "LG.pt", fsa)
    graphs = {"LG.safetensors": DecodingGraph.of(fsa, lexicon.words, tokenizer.pieces)}
    if config.durations:
        composed = compile_tdt_graph(fsa, tokenizer.vocab_size, config.durations)
        graphs["TLG.safetensors"] = DecodingGraph.of(composed, lexicon.words, tokenizer.pieces, config.durations)
    for name, graph in graphs.items():
        graph.save(folder / name)
        logger.info("%s: %d states, %d arcs", folder / name, int(graph.arcs[:, 1].max()) + 1, len(graph.arcs))


def main(argv: Optional[Sequence[str]] = None) -> None:
    start_logging()
    (config,) = parse(argv, __doc__.split("\n")[0], GraphConfig)
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
