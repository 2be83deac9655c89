"""Models in files: checkpoints, model directories, and the weights of Whisper and NeMo."""
