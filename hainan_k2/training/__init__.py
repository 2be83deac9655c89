"""Training: objective, optimizer, training loop, validation, logs, curves."""
