"""A comparison of an ONNX folder with the PyTorch model on a recording, printed."""

from __future__ import annotations

from pathlib import Path

from hainan_k2.formats.onnx_writer import ENDINGS
from hainan_k2.frontend.audio import SAMPLING_RATE, read_audio
from hainan_k2.frontend.spec import FeatureSpec
from hainan_k2.inference.onnx_transducer import OnnxTransducer, compare
from hainan_k2.inference.window_sizes import DEFAULT_WINDOWS
from hainan_k2.model.hainan import Hainan
from hainan_k2.search.options import SearchConfig


def print_comparison(model: Hainan, folder: Path, audio: str) -> bool:
    """Print differences and times of every precision; whether float32 finds exactly PyTorch's tokens.

    A recording longer than a window is cut after it. Raises ValueError for a recording that cannot be read.
    """
    samples = read_audio(audio)[: round(DEFAULT_WINDOWS.seconds * SAMPLING_RATE)]
    features = FeatureSpec.of_model(model.config).compute(samples)
    columns = [compare(model, OnnxTransducer(folder, precision), features, SearchConfig()) for precision in ENDINGS]
    rows = {name: [f"{column.differences[name]:.2g}" for column in columns] for name in columns[0].differences}
    for method in columns[0].equal:
        rows[method] = ["equal" if column.equal[method] else "differs" for column in columns]
    rows["seconds"] = [f"{column.seconds[0]:.2f}" for column in columns]
    print(
        f"{audio}: {len(samples) / SAMPLING_RATE:.1f} s, {columns[0].tokens} tokens; largest differences from PyTorch "
        f"({columns[0].seconds[1]:.2f} s)"
    )
    print(f"{'':24s}" + "".join(f"{precision:>10s}" for precision in ENDINGS))
    for name, values in rows.items():
        print(f"{name:24s}" + "".join(f"{value:>10s}" for value in values))
    return all(columns[0].equal.values())
