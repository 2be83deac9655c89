"""The same three utterances of two recordings in every form that hainan-data reads."""

from __future__ import annotations

import json
from pathlib import Path

import soundfile
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from tests.data.corpus import babble

RATE = 16000
# id, recording, start, end, speaker, text
SEGMENTS = (
    ("joe-1", "talk", 0.0, 0.75, "joe", "Alfa, bravo!"),
    ("joe-2", "talk", 0.75, 2.0, "joe", "cocoa 7"),
    ("ann-1", "note", 0.0, 1.0, "ann", "Delta"),
)


def write_recordings(folder: Path) -> dict[str, Path]:
    """FOLDER/talk.wav of 2 s and FOLDER/note.wav of 1 s."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.wav" for name in ("talk", "note")}
    soundfile.write(paths["talk"], babble(2 * RATE, seed=1), RATE)
    soundfile.write(paths["note"], babble(RATE, seed=2), RATE)
    return paths


def write_kaldi(folder: Path, pipe: bool = True) -> Path:
    """FOLDER/kaldi with segments; note.wav comes from a pipe, or is a path."""
    paths = write_recordings(folder / "audio")
    kaldi = folder / "kaldi"
    kaldi.mkdir()
    note = f"cat {paths['note']} |" if pipe else str(paths["note"])
    (kaldi / "wav.scp").write_text(f"note {note}\ntalk {paths['talk']}\n")
    (kaldi / "segments").write_text("".join(f"{n} {r} {start} {end}\n" for n, r, start, end, *_ in SEGMENTS))
    (kaldi / "text").write_text("".join(f"{s[0]} {s[5]}\n" for s in SEGMENTS))
    (kaldi / "utt2spk").write_text("".join(f"{s[0]} {s[4]}\n" for s in SEGMENTS))
    return kaldi


def write_nemo(folder: Path) -> Path:
    """FOLDER/nemo.json with offsets, durations, ids and speakers; paths are relative."""
    write_recordings(folder / "audio")
    lines = [
        {
            "audio_filepath": f"audio/{recording}.wav",
            "offset": start,
            "duration": end - start,
            "text": text,
            "id": name,
            "speaker": speaker,
        }
        for name, recording, start, end, speaker, text in SEGMENTS
    ]
    (folder / "nemo.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "nemo.json"


def write_table(folder: Path) -> Path:
    """FOLDER/table.csv with ids, speakers and times."""
    write_recordings(folder / "audio")
    rows = [f'{s[0]},audio/{s[1]}.wav,{s[2]},{s[3]},{s[4]},"{s[5]}"\n' for s in SEGMENTS]
    (folder / "table.csv").write_text("id,path,start,end,speaker,text\n" + "".join(rows))
    return folder / "table.csv"


def make_cuts(folder: Path) -> CutSet:
    """A cut of talk.wav with two supervisions, and one of note.wav."""
    paths = write_recordings(folder / "audio")
    cuts = []
    for name, path in paths.items():
        recording = Recording.from_file(path, recording_id=name)
        supervisions = [
            SupervisionSegment(n, name, start, end - start, text=text, speaker=speaker)
            for n, r, start, end, speaker, text in SEGMENTS
            if r == name
        ]
        cut_id = supervisions[0].id if len(supervisions) == 1 else f"cut-{name}"
        cuts.append(MonoCut(cut_id, 0.0, recording.duration, 0, supervisions, recording=recording))
    return CutSet.from_cuts(cuts)


def write_cuts(folder: Path) -> Path:
    """FOLDER/cuts.jsonl.gz."""
    make_cuts(folder).to_file(folder / "cuts.jsonl.gz")
    return folder / "cuts.jsonl.gz"


def write_shar(folder: Path) -> Path:
    """FOLDER/shar with the audio in archives."""
    cuts = make_cuts(folder)
    (folder / "shar").mkdir()
    cuts.to_shar(folder / "shar", fields={"recording": "flac"}, warn_unused_fields=False)
    return folder / "shar"


WRITERS = {
    "kaldi": write_kaldi,
    "nemo": write_nemo,
    "table": write_table,
    "cuts": write_cuts,
    "shar": write_shar,
}


def write_folder(folder: Path) -> Path:
    """FOLDER/speech with note.wav and talk.wav and a .txt beside each."""
    for name, path in write_recordings(folder / "speech" / "day 1").items():
        path.with_suffix(".txt").write_text(f"The text\nof {name}.\n")
    return folder / "speech"
