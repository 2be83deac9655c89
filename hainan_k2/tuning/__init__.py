"""Weights of the search, tuned for the fewest word errors on a development set."""
