"""Stage 6: a table of error rates, one row for each test set and decoding method.

python results.py EXP_DIR/decode      reads the files summary-SET.json of decode.py
"""

from __future__ import annotations

import json
from pathlib import Path

from hainan_k2.cli import Parser, fail


def table(summaries: list[Path]) -> str:
    """A Markdown table, one row per test set and method; rates in percent, errors in words."""
    rows = ["| test set | method | WER % | 95 % interval | CER % | sub | del | ins |", "|" + "---|" * 8]
    for path in summaries:
        name = path.stem[len("summary-") :]
        for method, f in json.loads(path.read_text(encoding="utf-8"))["methods"].items():
            low, high = f["interval"]
            rows.append(
                f"| {name} | {method} | {100 * f['wer']:.2f} | {100 * low:.2f} - {100 * high:.2f} | "
                f"{100 * f['cer']:.2f} | "
                f"{f['substitutions']} | {f['deletions']} | {f['insertions']} |"
            )
    return "\n".join(rows)


def main() -> None:
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("decode_dir", type=Path, help="output folder of decode.py")
    folder = parser.parse_args().decode_dir
    summaries = sorted(folder.glob("summary-*.json"))
    if not summaries:
        fail(f"no summary-*.json in {folder}: decode first (stage 5)")
    print(table(summaries))


if __name__ == "__main__":
    main()
