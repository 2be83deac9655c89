"""Languages as automata: n-grams, lexicons, word graphs, grammars, OpenFst files, hotwords."""
