"""The model, in plain torch: features -> encoder frames -> joint logits of tokens and durations."""
