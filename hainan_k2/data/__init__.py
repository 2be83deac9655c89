"""Cuts and manifests to padded batches, through lhotse: stored or computed features, augmentation, bucketing."""
