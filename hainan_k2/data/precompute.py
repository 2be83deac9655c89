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
from lhotse.features.base import FeatureExtractor

from hainan_k2.data.augment import perturb_speed
from hainan_k2.data.datamodule import open_cuts
from hainan_k2.data.manifests import write_manifest

PART = 1000  # cuts between points that a killed run goes on from


def precompute(
    cuts_path: Path,
    out_dir: Path,
    name: str,
    extractor: FeatureExtractor,
    *,
    speed_factors: Sequence[float] = (),
    num_jobs: int = 1,
) -> Path:
    """Compute features of the cuts in `cuts_path` and, given `speed_factors`, of copies at those speeds.

    Writes OUT_DIR/NAME.jsonl.gz, in random order (a training sampler shuffles no farther than its buffer
    reaches), features in NAME.feats-N* (lilcom: quantised to about 0.01), and last NAME.done. A call that finds
    NAME.done for the same cuts and options does nothing; one that finds parts of it, of PART cuts each, does
    the rest. Returns the manifest's path. Raises ValueError if
    some cut gets no features.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    manifest, marker = out_dir / f"{name}.jsonl.gz", out_dir / f"{name}.done"
    wanted = {
        "input": _digest(cuts_path),
        "speed_factors": list(speed_factors),
        "features": {"name": extractor.name, **extractor.config.to_dict()},
    }
    if manifest.is_file() and marker.is_file() and json.loads(marker.read_text()) == wanted:
        logging.info(f"{manifest}: done already")
        return manifest
    marker.unlink(missing_ok=True)
    manifest.unlink(missing_ok=True)  # it would point to features about to be overwritten
    begun = out_dir / f"{name}.begun"
    if not (begun.is_file() and json.loads(begun.read_text()) == wanted):
        for stale in out_dir.glob(f"{name}.part-*"):
            stale.unlink()
        _write_text(begun, json.dumps(wanted))

    cuts = perturb_speed(open_cuts(cuts_path), speed_factors).to_eager()
    every = list(cuts)
    stored: list = []
    parts = [out_dir / f"{name}.part-{i // PART}.jsonl.gz" for i in range(0, len(every), PART)]
    for i, part in enumerate(parts):
        if not part.is_file():
            done = (
                CutSet.from_cuts(every[i * PART : (i + 1) * PART])
                .compute_and_store_features(
                    extractor,
                    (out_dir / f"{name}.feats-{i}").resolve(),
                    num_jobs=num_jobs,
                    storage_type=LilcomChunkyWriter,
                    progress_bar=sys.stderr.isatty(),
                )
                .to_eager()
            )
            write_manifest(done, part)
            logging.info(f"{name}: {min(len(every), (i + 1) * PART)} of {len(every)} cuts")
        stored += CutSet.from_jsonl_lazy(part)
    lost = sorted(set(cuts.ids) - {cut.id for cut in stored})
    if lost:  # lhotse drops, with no more than a log line, what it cannot read
        raise ValueError(
            f"{len(lost)} of {len(cuts)} cuts in {cuts_path} could not be read "
            f"({' '.join(lost[:5])}): prepare the manifests anew"
        )
    in_order = sorted(stored, key=lambda cut: cut.id)  # several jobs finish in any order
    random.Random(0).shuffle(in_order)
    write_manifest(CutSet.from_cuts(in_order), manifest)
    _write_text(marker, json.dumps(wanted))
    for part in (*parts, begun):
        part.unlink()
    logging.info(f"{manifest}: {len(cuts)} cuts, {sum(cut.duration for cut in cuts) / 3600:.2f} h")
    return manifest


def _digest(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"{path}: no such cut manifest; hainan-prepare-manifests writes it")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f"partial.{path.name}")
    partial.write_text(text)
    os.replace(partial, path)
