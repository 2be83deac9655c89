"""Error rates and what they are worth: alignment, significance, word times."""
