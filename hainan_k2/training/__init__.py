"""Training: objective, optimizer, loop, checkpoints, validation, logs."""
