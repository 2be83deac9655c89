"""Features of a cut manifest, computed once and stored with a manifest that points to them."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Optional

import torch
from lhotse import CutSet, LilcomChunkyWriter
from lhotse.cut import Cut
from lhotse.features.base import FeatureExtractor
from lhotse.features.io import FeaturesWriter

from hainan_k2.cluster import Cluster
from hainan_k2.data.augment import perturb_speed
from hainan_k2.data.cuts import open_cuts
from hainan_k2.data.extractors import REMOVED_OPTIONS
from hainan_k2.data.manifests import write_manifest
from hainan_k2.files.atomic import write_atomic

PART = 1000  # cuts after which an interrupted run can be resumed

logger = logging.getLogger(__name__)


def precompute(
    cuts_path: Path,
    out_dir: Path,
    name: str,
    extractor: FeatureExtractor,
    *,
    speed_factors: Sequence[float] = (),
    num_jobs: int = 1,
    storage: type[FeaturesWriter] = LilcomChunkyWriter,
    custom: Mapping[str, str] = MappingProxyType({}),
    cluster: Optional[Cluster] = None,
) -> Path:
    """Compute and store the features of all cuts in `cuts_path` and, given `speed_factors`, of copies at those speeds.

    Writes the features to OUT_DIR/NAME.feats-N*, the manifest OUT_DIR/NAME.jsonl.gz
    in random order (a training sampler shuffles within its buffer only), and last the marker NAME.done. Does nothing
    where NAME.done is there for the same cuts and options; keeps the parts, of PART cuts each, that an interrupted run
    finished.

    Args:
      storage: how features are stored; the default, lilcom, quantises them to about 0.01.
      custom: custom fields that every cut gets.
      cluster: whose workers compute the parts, each in one process; `num_jobs` is then of no account.

    Returns the path of the manifest. Raises ValueError where a cut gets no features.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    manifest, marker = out_dir / f"{name}.jsonl.gz", out_dir / f"{name}.done"
    wanted = {
        "input": _digest(cuts_path),
        "speed_factors": list(speed_factors),
        "features": {"name": extractor.name, **extractor.config.to_dict()},
    }
    if manifest.is_file() and marker.is_file() and _read_options(marker) == wanted:
        logger.info("%s: done already", manifest)
        return manifest
    marker.unlink(missing_ok=True)
    manifest.unlink(missing_ok=True)  # it would point to features about to be overwritten
    begun = out_dir / f"{name}.begun"
    if not (begun.is_file() and _read_options(begun) == wanted):
        for stale in out_dir.glob(f"{name}.part-*"):
            stale.unlink()
        write_atomic(begun, json.dumps(wanted))

    cuts = perturb_speed(open_cuts(cuts_path), speed_factors).to_eager()
    every = list(cuts)
    stored: list[Cut] = []
    parts = [out_dir / f"{name}.part-{i // PART}.jsonl.gz" for i in range(0, len(every), PART)]
    missing = [i for i, part in enumerate(parts) if not part.is_file()]
    chunks = ((every[i * PART : (i + 1) * PART], (out_dir / f"{name}.feats-{i}").resolve()) for i in missing)
    compute = partial(_compute_part, extractor, storage, num_jobs if cluster is None else 1)
    for i, done in zip(missing, map(compute, chunks) if cluster is None else cluster.map(compute, chunks)):
        write_manifest(CutSet.from_cuts(_with_fields(cut, custom) for cut in done), parts[i])
        logger.info("%s: %d of %d cuts", name, min(len(every), (i + 1) * PART), len(every))
    for part in parts:
        stored += CutSet.from_jsonl_lazy(part)
    lost = sorted(set(cuts.ids) - {cut.id for cut in stored})
    if lost:  # lhotse drops, with no more than a log line, what it cannot read
        raise ValueError(
            f"{len(lost)} of {len(cuts)} cuts in {cuts_path} could not be read "
            f"({' '.join(lost[:5])}): prepare the manifests again"
        )
    in_order = sorted(stored, key=lambda cut: cut.id)  # several jobs finish in any order
    random.Random(0).shuffle(in_order)
    write_manifest(CutSet.from_cuts(in_order), manifest)
    write_atomic(marker, json.dumps(wanted))
    for part in (*parts, begun):
        part.unlink()
    logger.info("%s: %d cuts, %.2f h", manifest, len(cuts), sum(cut.duration for cut in cuts) / 3600)
    return manifest


def copy_cuts(cuts_path: Path, target: Path, speed_factors: Sequence[float] = ()) -> None:
    """Write the cuts in `cuts_path`, which have no features, and copies at `speed_factors` to the manifest `target`.

    Raises ValueError where there is no manifest, or it is damaged.
    """
    write_manifest(perturb_speed(open_cuts(cuts_path), speed_factors), target)
    logger.info("%s: cuts without features", target)


def _compute_part(
    extractor: FeatureExtractor, storage: type[FeaturesWriter], num_jobs: int, chunk: tuple[list[Cut], Path]
) -> list[Cut]:
    """Compute the features of cuts and store them under a path, replacing what a killed process left there."""
    cuts, path = chunk
    torch.set_num_threads(1)
    stored = CutSet.from_cuts(cuts).compute_and_store_features(
        extractor, path, num_jobs=num_jobs, storage_type=storage, progress_bar=sys.stderr.isatty()
    )
    return list(stored)


def _with_fields(cut: Cut, custom: Mapping[str, str]) -> Cut:
    for name, value in custom.items():
        cut = cut.with_custom(name, value)
    return cut


def _digest(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"{path}: no such cut manifest; hainan-data writes it")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_options(path: Path) -> dict[str, Any]:
    """The options in a marker, without those that have been removed since."""
    options: dict[str, Any] = json.loads(path.read_text())
    for name in REMOVED_OPTIONS:
        options["features"].pop(name, None)
    return options
