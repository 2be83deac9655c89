"""Language as automata: n-gram models, lexicons, word graphs, grammars, OpenFst files and hotwords.

n-grams:   arpa -> ngram (NgramLm) -> lookahead_lm (over words, read as tokens),
           or arpa -> ngram_acceptor (G) -> backoff -> word_graph (LG, with lexicon)
grammars:  grammar_text -> grammar_rules -> automaton -> grammar
OpenFst:   openfst, openfst_binary -> fst_grammar -> automaton -> grammar
hotwords:  hotword_list -> hotwords (HotwordGraph); scorers gives it and NgramLm one interface
"""
