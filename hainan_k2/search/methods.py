"""The decoding methods: METHODS is the one place where a method is added.

Everything that depends on the method is read from this table: --help, the README's table, sweeps, where long recordings
are cut, which methods decode streams and which a report compares. Importing it loads neither torch nor k2.

    >>> from hainan_k2.search import METHODS, SearchConfig
    >>> [name for name, method in METHODS.items() if method.stream]
    ['ar-greedy', 'ar-beam', 'nar-greedy']
    >>> search = METHODS["ar-greedy"].function  # search(model, encoder_out, lens, SearchConfig(max_symbols=5))
"""

from __future__ import annotations

from hainan_k2.search.method import Imported, Method

# Options that several methods take.
PENALTIES = ("blank_penalty", "token_bonus")
PATH_SCORES = ("duration_scale", *PENALTIES)
NAR_SCORES = (*PATH_SCORES, "skip_scale")  # of encoder-only lattices
AR_SEARCH = ("max_symbols", "beam", "beam_durations", "guide", "context_tokens")
GRAPH_PRUNING = ("search_beam", "output_beam", "min_active_states", "max_active_states")
PRUNED = ("top_k", "lattice_beam", "lattice_states", "hotword_scale")
LATTICE = (*NAR_SCORES, *PRUNED)
IN_GRAPH = ("lm_scale", "nbest", "num_paths", "hotword_scale", *GRAPH_PRUNING)
NBEST_LIST = (*LATTICE, "num_paths", "lattice", *AR_SEARCH)  # of the NAR or the AR lattice
ORDERING = ("lm_scale", "ar_weight", "nbest_scale", "nbest")  # how n-best lists are ordered, not what is on them
RESCORING = ("ar_weight", "lm_weight", "ctc_weight", "length_bonus", "nbest")  # the same for rescore

# Defaults where a long duration may skip what a language model or grammar makes expensive, and of CTC searches, chosen
# on the development sets of both recipes (recipes/librispeech/RESULTS.md).
IN_GRAMMAR = {"skip_scale": 0.2, "token_bonus": 1.0}
WITH_LM = {"token_bonus": 2.0, "lm_scale": 0.8}
SKIPPING_WITH_LM = {"skip_scale": 0.2, **WITH_LM}

COMPOSED = 30.0  # seconds
LISTED = 10.0

_TABLE = (
    Method(
        "ar-greedy",
        Imported("greedy", "ar_greedy"),
        needs_k2=False,
        description="autoregressive greedy search by label-looping",
        parts=("predictor",),
        options=("max_symbols", "hotword_scale"),
        uses=("hotwords",),
        stream=Imported("streaming", "StreamingGreedy"),
        compared=True,
    ),
    Method(
        "ar-beam",
        Imported("beam", "ar_beam"),
        needs_k2=False,
        description="autoregressive beam search that adds up alignments, also through LM, grammar or graph",
        parts=("predictor",),
        options=(
            *PATH_SCORES,
            *AR_SEARCH,
            "nbest",
            "lm_scale",
            "lodr_scale",
            "hotword_scale",
            "grammar_threshold",
            "grammar_fallback",
        ),
        uses=("lm", "lodr_lm", "graph", "grammar", "hotwords"),
        stream=Imported("ar_stream", "StreamingBeam"),
        limit=COMPOSED,
        limited_by=("lm", "graph", "grammar"),
    ),
    Method(
        "nar-greedy",
        Imported("greedy", "nar_greedy"),
        needs_k2=False,
        description="greedy walk over the encoder-only joint",
        stream=Imported("streaming", "streaming_nar"),
        compared=True,
    ),
    Method(
        "sar",
        Imported("refine", "sar"),
        needs_k2=False,
        description="nar-greedy, refined by the predictor in parallel",
        parts=("predictor", "encoder-only"),
        options=("sar_rounds", "hotword_scale"),
        uses=("hotwords",),
        compared=True,
    ),
    Method(
        "ctc-greedy",
        Imported("ctc", "ctc_greedy"),
        needs_k2=False,
        description="best label of each frame under the CTC head",
        parts=("ctc",),
    ),
    Method(
        "ctc-lm",
        Imported("ctc_lm", "ctc_lm"),
        needs_k2=False,
        description="best path of the CTC lattice composed with an n-gram language model",
        parts=("ctc",),
        options=(*PENALTIES, *PRUNED, "lm_scale", "lodr_scale"),
        defaults=WITH_LM,
        needs=("lm",),
        uses=("lodr_lm", "hotwords"),
        limit=COMPOSED,
    ),
    Method(
        "ctc-graph",
        Imported("ctc_graph", "ctc_graph"),
        needs_k2=True,
        description="best path of the CTC lattice through a word graph (HLG)",
        parts=("ctc",),
        options=(*PENALTIES, *IN_GRAPH),
        defaults=WITH_LM,
        needs=("graph",),
        uses=("word_lm", "hotwords"),
        limit=COMPOSED,
    ),
    Method(
        "viterbi",
        Imported("viterbi", "viterbi"),
        needs_k2=False,
        description="best path of the encoder-only lattice",
        options=LATTICE,
        uses=("hotwords",),
        compared=True,
        limit=COMPOSED,
        limited_by=("hotwords",),
    ),
    Method(
        "viterbi-lm",
        Imported("viterbi_lm", "viterbi_lm"),
        needs_k2=False,
        description="best path of the lattice composed with an n-gram language model",
        options=(*LATTICE, "lm_scale", "lodr_scale"),
        defaults=SKIPPING_WITH_LM,
        needs=("lm",),
        uses=("lodr_lm", "hotwords"),
        limit=COMPOSED,
    ),
    Method(
        "sar-viterbi",
        Imported("refine", "sar_viterbi"),
        needs_k2=False,
        description="viterbi, refined by the predictor in parallel",
        parts=("predictor", "encoder-only"),
        options=(*LATTICE, "sar_rounds"),
        uses=("hotwords",),
        limit=COMPOSED,
        limited_by=("hotwords",),
    ),
    Method(
        "grammar",
        Imported("grammar", "grammar"),
        needs_k2=True,
        description="best path in a closed grammar, with its output side",
        options=(*NAR_SCORES, "grammar_threshold", "grammar_fallback"),
        defaults=IN_GRAMMAR,
        needs=("grammar",),
        limit=COMPOSED,
    ),
    Method(
        "graph",
        Imported("graph", "graph"),
        needs_k2=True,
        description="best path through a word graph: lexicon and word-level language model",
        options=(*NAR_SCORES, *IN_GRAPH),
        defaults=SKIPPING_WITH_LM,
        needs=("graph",),
        uses=("word_lm", "hotwords"),
        limit=COMPOSED,
    ),
    Method(
        "nbest",
        Imported("nbest", "nbest_total"),
        needs_k2=True,
        description="most probable text over all alignments in the lattice",
        options=(*NBEST_LIST, "nbest"),
        uses=("hotwords",),
        sweeps=ORDERING,
        limit=COMPOSED,
        segment_limit=LISTED,
    ),
    Method(
        "nbest-lm",
        Imported("nbest", "nbest_lm"),
        needs_k2=True,
        description="n-best list, rescored by a language model",
        options=(*NBEST_LIST, "nbest", "lm_scale"),
        needs=("lm",),
        uses=("hotwords",),
        sweeps=ORDERING,
        limit=COMPOSED,
        segment_limit=LISTED,
    ),
    Method(
        "nbest-ar",
        Imported("nbest", "nbest_ar"),
        needs_k2=True,
        description="n-best list, rescored by the predictor over all alignments",
        parts=("predictor", "encoder-only"),
        options=(*NBEST_LIST, "nbest", "ar_weight"),
        uses=("hotwords",),
        sweeps=ORDERING,
        limit=COMPOSED,
        segment_limit=LISTED,
    ),
    Method(
        "rescore",
        Imported("rescore", "rescore"),
        needs_k2=True,
        description="texts of the lattice with language model, rescored by encoder, predictor, LM, CTC and length",
        parts=("predictor", "encoder-only"),
        options=(*NBEST_LIST, "lm_scale", "lodr_scale", *RESCORING),
        uses=("lm", "lodr_lm", "hotwords"),
        sweeps=RESCORING,
        limit=COMPOSED,
        segment_limit=LISTED,
    ),
    Method(
        "mbr",
        Imported("nbest", "nbest_mbr"),
        needs_k2=True,
        description="least expected word errors over the n-best list",
        options=(*NBEST_LIST, "nbest", "nbest_scale"),
        uses=("hotwords", "pieces"),
        sweeps=ORDERING,
        limit=COMPOSED,
        segment_limit=LISTED,
    ),
    Method(
        "nbest-oracle",
        Imported("nbest", "nbest_oracle"),
        needs_k2=True,
        description="the text of the n-best list nearest to the reference: a bound",
        options=NBEST_LIST,
        uses=("hotwords",),
        sweeps=ORDERING,
        oracle=True,
        limit=COMPOSED,
        segment_limit=LISTED,
    ),
)
METHODS = {method.name: method for method in _TABLE}
