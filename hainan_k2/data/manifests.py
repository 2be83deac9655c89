"""Cuts to lhotse manifests of a split.

For a corpus without faults the recordings and supervisions are those of `lhotse prepare librispeech`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Union

from lhotse import CutSet, MonoCut, RecordingSet, SupervisionSet

from hainan_k2.files.jsonl import write_lines

Manifest = Union[RecordingSet, SupervisionSet, CutSet]


def manifest_name(prefix: str, kind: str, split: str) -> str:
    """The name of a manifest, PREFIX_KIND_SPLIT.jsonl.gz; `kind` is cuts, recordings or supervisions."""
    return "_".join(filter(None, (prefix, kind, split))) + ".jsonl.gz"


def write_manifests(cuts: Sequence[MonoCut], out_dir: Path, split: str, prefix: str = "") -> None:
    """Write the manifests of a split: cuts, and their recordings and supervisions, as `manifest_name` names them.

    Every cut has a recording and one supervision that starts with it.
    """
    recordings = {cut.recording.id: cut.recording for cut in cuts}
    supervisions = [
        cut.supervisions[0] if not cut.start else cut.supervisions[0].with_offset(cut.start) for cut in cuts
    ]
    manifests: dict[str, Manifest] = {
        "recordings": RecordingSet.from_recordings(recordings.values()),
        "supervisions": SupervisionSet.from_segments(supervisions),
        "cuts": CutSet.from_cuts(cuts),
    }
    for kind, manifest in manifests.items():
        write_manifest(manifest, out_dir / manifest_name(prefix, kind, split))


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a .jsonl.gz whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_lines(path, manifest.to_dicts())
