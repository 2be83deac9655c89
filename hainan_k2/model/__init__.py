"""Features to frames to log-probabilities: encoder, predictor, joiner. Torch only."""
