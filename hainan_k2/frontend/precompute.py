"""Features of a whole cut manifest, computed once and stored beside a manifest that points to them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from lhotse import CutSet, LilcomChunkyWriter

from hainan_k2.frontend.augment import perturb_speed
from hainan_k2.frontend.datamodule import open_cuts
from hainan_k2.frontend.features import Fbank, FbankConfig
from hainan_k2.frontend.manifests import write_manifest


def precompute(cuts_path: Path, out_dir: Path, name: str, *, speed_factors: Sequence[float] = (),
               num_mel_bins: int = 80, num_jobs: int = 1) -> Path:
    """Compute features of the cuts in `cuts_path` and, given `speed_factors`, of copies at those speeds.

    Writes OUT_DIR/NAME.jsonl.gz, in random order (a training sampler shuffles no farther than its buffer
    reaches), features in NAME.feats* (lilcom: quantised to about 0.01), and last NAME.done. A call that finds
    NAME.done for the same cuts and options does nothing. Returns the manifest's path. Raises ValueError if
    some cut gets no features.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    manifest, marker = out_dir / f"{name}.jsonl.gz", out_dir / f"{name}.done"
    wanted = {"input": _digest(cuts_path), "speed_factors": list(speed_factors), "num_mel_bins": num_mel_bins}
    if manifest.is_file() and marker.is_file() and json.loads(marker.read_text()) == wanted:
        logging.info(f"{manifest}: done already")
        return manifest
    marker.unlink(missing_ok=True)
    manifest.unlink(missing_ok=True)  # it would point to features about to be overwritten

    cuts = perturb_speed(open_cuts(cuts_path), speed_factors).to_eager()
    stored = cuts.compute_and_store_features(
        Fbank(FbankConfig(num_mel_bins)), (out_dir / f"{name}.feats").resolve(), num_jobs=num_jobs,
        storage_type=LilcomChunkyWriter, progress_bar=sys.stderr.isatty()).to_eager()
    lost = sorted(set(cuts.ids) - set(stored.ids))
    if lost:  # lhotse drops, with no more than a log line, what it cannot read
        raise ValueError(f"{len(lost)} of {len(cuts)} cuts in {cuts_path} could not be read "
                         f"({' '.join(lost[:5])}): prepare the manifests anew")
    in_order = sorted(stored, key=lambda cut: cut.id)  # several jobs finish in any order
    random.Random(0).shuffle(in_order)
    write_manifest(CutSet.from_cuts(in_order), manifest)
    _write_text(marker, json.dumps(wanted))
    logging.info(f"{manifest}: {len(cuts)} cuts, {sum(cut.duration for cut in cuts) / 3600:.2f} h")
    return manifest


def _digest(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"{path}: no such cut manifest; prepare_manifests.py writes it")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f"partial.{path.name}")
    partial.write_text(text)
    os.replace(partial, path)
