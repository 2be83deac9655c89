"""Training lattices and their sums: full, pruned and simple losses on k2 or torch, and sequence scores."""
