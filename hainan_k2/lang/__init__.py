"""The commands for tokenizers, lexicons, language models and grammars: hainan-train-bpe, hainan-train-lm and so on."""
