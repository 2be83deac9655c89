"""Tokenizers, lexicons, language models and grammars: the commands hainan-train-bpe, hainan-train-lm and so on."""
