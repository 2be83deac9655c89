"""Word and character error rates, their significance, icefall's result files, errors of word times."""
