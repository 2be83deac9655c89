"""Samples to features, as pure functions: audio files, filter banks, Whisper's log-mel features, normalisation.

read_audio(path) -> samples (N,) -> FeatureSpec.compute(samples) -> features (T, F)
"""
