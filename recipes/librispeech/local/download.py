"""Downloads parts of LibriSpeech through lhotse.

python download.py --dir download --splits train-clean-5,dev-clean-2,test-clean
"""

from __future__ import annotations

import logging
import tarfile
from dataclasses import dataclass

from lhotse.recipes.librispeech import LIBRISPEECH, MINI_LIBRISPEECH, download_librispeech

from hainan_k2.cli import fail, parse
from hainan_k2.config import option


@dataclass(frozen=True)
class DownloadConfig:
    dir: str = option("", "folder to write to; the splits go to its subfolder LibriSpeech (required)")
    splits: tuple[str, ...] = option((), "splits to download, of " + " ".join(LIBRISPEECH + MINI_LIBRISPEECH))


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    (config,) = parse(None, __doc__.split("\n")[0], DownloadConfig)
    unknown = set(config.splits) - {*LIBRISPEECH, *MINI_LIBRISPEECH}
    if not config.dir or not config.splits or unknown:
        fail(f"give --dir and --splits{' without ' if unknown else ''}{' '.join(sorted(unknown))}")
    try:
        download_librispeech(config.dir, dataset_parts=config.splits)
    except (OSError, tarfile.TarError) as error:
        fail(f"LibriSpeech cannot be downloaded ({error}): give the folder of a copy as --dl-dir or use --corpus synth")


if __name__ == "__main__":
    main()
