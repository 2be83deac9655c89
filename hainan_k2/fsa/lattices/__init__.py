"""Decoding lattices: encoder-only, with language models and grammars; paths, n-best lists, files, drawings."""
