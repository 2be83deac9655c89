"""Cuts to the files of other programs: Kaldi directories, NeMo manifests, trn, CTM, Shar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from lhotse import CutSet, MonoCut, RecordingSet, SupervisionSet
from lhotse.kaldi import export_to_kaldi
from lhotse.utils import fastcopy

from hainan_k2.files import trn
from hainan_k2.files.atomic import write_atomic
from hainan_k2.files.jsonl import write_lines
from hainan_k2.files.text_tables import read_keyed_lines


def write_kaldi(cuts: Sequence[MonoCut], folder: Path) -> None:
    """A Kaldi data directory with wav.scp, segments, text, utt2spk, spk2utt, utt2dur, reco2dur.

    An utterance without a speaker is its own. Audio that Kaldi does not read becomes a pipe of ffmpeg in wav.scp.
    Where a recording has several channels, lhotse adds the channel to the names of utterances.
    """
    supervisions = [
        fastcopy(cut.supervisions[0].with_offset(cut.start), speaker=cut.supervisions[0].speaker or cut.id)
        for cut in sorted(cuts, key=lambda cut: str(cut.id))
    ]
    recordings = {cut.recording.id: cut.recording for cut in sorted(cuts, key=lambda cut: str(cut.recording.id))}
    export_to_kaldi(
        RecordingSet.from_recordings(recordings.values()), SupervisionSet.from_segments(supervisions), folder
    )
    of_speaker: dict[str, list[str]] = defaultdict(list)
    for name, speaker, _ in read_keyed_lines(folder / "utt2spk"):
        of_speaker[speaker].append(name)
    lines = [f"{speaker} {' '.join(names)}\n" for speaker, names in sorted(of_speaker.items())]
    write_atomic(folder / "spk2utt", "".join(lines))


def write_nemo(cuts: Sequence[MonoCut], path: Path) -> None:
    """A NeMo manifest: JSON lines with audio_filepath, offset, duration, text, id and, if known, speaker.

    Raises ValueError for a recording with several channels, of which a line cannot name one.
    """
    for cut in cuts:
        if cut.recording.num_channels > 1:
            raise ValueError(
                f"cut {cut.id} is a channel of {cut.recording.sources[0].source}, which a NeMo manifest cannot say: "
                "write --to shar, whose audio has one channel"
            )
    write_lines(
        path,
        (
            {
                "audio_filepath": cut.recording.sources[0].source,
                "offset": cut.start,
                "duration": cut.duration,
                "text": cut.supervisions[0].text,
                "id": cut.id,
                **({"speaker": cut.supervisions[0].speaker} if cut.supervisions[0].speaker else {}),
            }
            for cut in cuts
        ),
    )


def write_trn(cuts: Sequence[MonoCut], path: Path) -> None:
    """NIST's trn, which sclite scores: `TEXT (ID)`. Raises ValueError for an id that it cannot hold."""
    trn.write_trn(path, ((cut.id, str(cut.supervisions[0].text)) for cut in cuts))


def write_ctm(cuts: Sequence[MonoCut], path: Path) -> None:
    """NIST's CTM of the words of alignments: `ID CHANNEL START DURATION WORD` and, if known, CONFIDENCE, in seconds
    from the start of the utterance.

    Raises ValueError for a cut without alignment.
    """
    lines = []
    for cut in cuts:
        words = (cut.supervisions[0].alignment or {}).get("word")
        if not words:
            raise ValueError(f"cut {cut.id} has no times of words: hainan-align --write cuts makes them")
        lines += [
            f"{cut.id} 1 {word.start:.3f} {word.duration:.3f} {word.symbol}"
            + (f" {word.score:.3f}" if word.score is not None else "")
            + "\n"
            for word in words
            if word.symbol
        ]
    write_atomic(path, "".join(lines))


def write_shar(cuts: Sequence[MonoCut], folder: Path) -> None:
    """lhotse's Shar: archives of 1000 cuts with their audio as FLAC. Those of an earlier run are removed first."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (*folder.glob("cuts.*.jsonl.gz"), *folder.glob("recording.*.tar")):
        stale.unlink()
    CutSet.from_cuts(cuts).to_shar(folder, fields={"recording": "flac"}, shard_size=1000)


# By format: the name of the file or folder of a split, and what writes it.
EXPORTS: dict[str, tuple[str, Callable[[Sequence[MonoCut], Path], None]]] = {
    "kaldi": ("{split}", write_kaldi),
    "nemo": ("{split}.json", write_nemo),
    "trn": ("{split}.trn", write_trn),
    "ctm": ("{split}.ctm", write_ctm),
    "shar": ("shar_{split}", write_shar),
}
