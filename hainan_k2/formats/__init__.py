"""Models in files: checkpoints, model directories, the weights of Whisper, and the models of NeMo and transformers."""
