"""Sound to features: audio files, lhotse manifests, filter banks, augmentation, padded batches."""
