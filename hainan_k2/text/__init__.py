"""Normalised text and the tokenizer."""
