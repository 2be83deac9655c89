"""Models of NeMo and transformers to a model directory: `python hainan_k2/import_model.py parakeet.nemo --out DIR`.

Reads a .nemo archive, the folder that one was unpacked to, or a folder of the transformers library, without either
program and without running anything of the file. Every dimension, feature and token is kept; what is not supported is
refused by name. DIR is then a model like those of export.py: for transcribe.py, decode.py and `train.py --init-from`.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from hainan_k2.cli import errors_in_one_line, parse
from hainan_k2.config import option


@dataclass(frozen=True)
class ImportConfig:
    path: tuple[str, ...] = option((), "a .nemo archive, an unpacked one, or a folder of transformers", positional=True)
    out: str = option("", "the model directory to make")
    precision: str = option(
        "float32", "of matrices and kernels in the model directory", ("float32", "float16", "bfloat16", "int8")
    )

    help_title, help_example = "input and output", "parakeet.nemo --out parakeet"

    def __post_init__(self) -> None:
        if len(self.path) != 1:
            raise ValueError("name one model: a .nemo archive or a folder")
        if not self.out:
            raise ValueError("--out is required: the model directory to make")


def import_model(config: ImportConfig) -> None:
    """Write the model directory and print what it holds.

    Raises ValueError for a model that is damaged or not supported, OSError where the directory cannot be written.
    """
    from hainan_k2.formats.nemo import read_nemo
    from hainan_k2.formats.parakeet import read_parakeet
    from hainan_k2.search.methods import METHODS
    from hainan_k2.search.suitability import suitable

    path, out = pathlib.Path(config.path[0]), pathlib.Path(config.out)
    with (read_parakeet if (path / "config.json").is_file() else read_nemo)(path) as model:
        model.write(out, config.precision)
        size = sum(file.stat().st_size for file in out.iterdir())
        origin = model.provenance["imported"]
        print(f"{out}: {origin['class']} of {origin['program']}, {config.precision}, {size / 1e6:.1f} MB")
        print(f"decoded by {', '.join(suitable(METHODS, model.config))}")


def main(argv: Optional[Sequence[str]] = None) -> None:
    (config,) = parse(argv, "Make a model directory of a model of NeMo or transformers.", ImportConfig)
    with errors_in_one_line():
        import_model(config)


if __name__ == "__main__":
    main()
