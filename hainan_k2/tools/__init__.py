"""What surrounds training and decoding: checkpoints, optimiser, converters, benches."""
