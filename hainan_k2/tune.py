"""Find the weights of a decoding method on a development set, and calibrate its confidences.

    hainan-tune --model DIR --cuts cuts_dev.jsonl.gz --method viterbi-lm --lm lm.arpa --out best.yaml
    hainan-decode --config best.yaml --model DIR --cuts cuts_test.jsonl.gz

The weights are those of lm_scale, token_bonus, duration_scale, skip_scale, lodr_scale, hotword_scale, ar_weight and
nbest_scale that the method takes; the other options stay as given. The encoder runs once. `viterbi`, `viterbi-lm` and
`graph` are tuned on their lattices, `rescore` on its scored lists, all others by searching again. The best weights are
checked by decoding with them.

Then the map from the confidences of words to probabilities is fitted (hainan_k2.confidence), with the best weights; for
methods without weights, and with --calibrate-only, only that.

Prints the word error rates before and after, with confidence interval, and the calibration errors. Writes the options
as YAML, for --config of decode.py and transcribe.py, and beside it a picture of the error rates, best.svg. With --store
the model directory keeps weights and calibration, or the experiment folder, from which hainan-export takes them:
searches with the same kinds of decoding resources take them by default.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from hainan_k2.cli import errors_in_one_line, parse, start_logging
from hainan_k2.config import as_dict, option
from hainan_k2.search.methods import METHODS
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import ResourceConfig
from hainan_k2.search.sweep import SearchGrid

if TYPE_CHECKING:
    from hainan_k2.search.settings import Setting
    from hainan_k2.tuning.dev_set import DevSet

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TuneConfig:
    model: str = option("", "model directory of export.py, or released; instead of --exp-dir and --lang-dir")
    exp_dir: str = option("exp", "experiment folder of train.py")
    epoch: Optional[int] = option(None, "last of the epoch checkpoints to average; none: the newest", at_least=1)
    avg: int = option(1, "how many epoch checkpoints to average", at_least=1)
    lang_dir: str = option("", "folder with bpe.model, of hainan-train-bpe")
    cuts: str = option(
        "",
        "lhotse cuts of the development set, .jsonl.gz (required); with features, or with encoder output as "
        "hainan-compute-features --encoder stores it",
    )
    method: str = option("rescore", "the method whose weights are searched", tuple(METHODS))
    out: str = option("", "YAML file to write: options for --config of decode.py and transcribe.py (required)")
    store: bool = option(
        False,
        "keep weights and calibration with the model, in --model or --exp-dir: the method then takes them by default",
    )
    calibrate_only: bool = option(False, "keep the weights as they are given, stored or by default; only calibrate")
    max_duration: float = option(60.0, "seconds of audio in a batch, padding included", above=0)
    seed: int = option(0, "of the search for the weights of rescore", at_least=0)
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda where there is one")

    help_title, help_example = "input and output", "--model DIR --cuts cuts_dev.jsonl.gz --out best.yaml"

    def __post_init__(self) -> None:
        if not self.cuts or not self.out:
            raise ValueError("--cuts and --out are required: a development set, and the file to write")


def first_options(
    method: str, chosen: Any, settings: Sequence[Setting] = (), given: Sequence[str] = ()
) -> SearchConfig:
    """The options that the search begins with, of a SearchGrid; ValueError for one with several values."""
    from hainan_k2.search.sweep import make_rows

    row, *more = make_rows([method], chosen, settings, given)
    if more:
        raise ValueError(f"give one value for each option, with which the search begins, not {len(more) + 1}")
    return row.options


def run(config: TuneConfig, chosen: Any, files: ResourceConfig) -> str:
    """Tune, calibrate, write options and picture, and return a report. Raises ValueError where there is nothing to tune
    on.

    Args:
      chosen: a SearchGrid with one value for each option.
    """
    from hainan_k2.formats.model_dir import store_setting
    from hainan_k2.search.settings import Setting, used_resources
    from hainan_k2.tuning.axes import axes_of
    from hainan_k2.tuning.calibrating import calibrate
    from hainan_k2.tuning.drawing import draw_surface
    from hainan_k2.tuning.tuned import tune

    dev, options, folder = load_dev_set(config, chosen, files)
    given, out = used_resources(config.method, dev.resources.given()), Path(config.out)
    report: list[str] = []
    values: Mapping[str, float] = {}
    picture = None
    if axes_of(METHODS[config.method], given) and not config.calibrate_only:
        tuned = tune(dev, options, config.seed)
        options, values, report = tuned.options, tuned.values, tuned.report()
        picture = out.with_suffix(".svg")
        draw_surface(tuned.surface, picture, f"{config.method}: WER % on {Path(config.cuts).name}")
    calibration, line = calibrate(dev, options)
    report.append(line)
    content = yaml_options(config.method, options, values, files)
    write_yaml(out, content, report)
    report += [*(f"{name}: {value:g}" for name, value in values.items()), f"{out}{f', {picture}' if picture else ''}"]
    if config.store:
        # Of an option that is true or false, make_rows cannot tell whether it was given: it is no default of a model.
        taken = [name for name in METHODS[config.method].options if not isinstance(getattr(options, name), bool)]
        kept = {name: content[name] for name in taken if name in content}
        store_setting(folder, Setting(config.method, given, kept, calibration))
        report.append(f"stored in {folder}, for {config.method} with {', '.join(given) or 'no resources'}")
    return "\n".join(report)


def load_dev_set(config: TuneConfig, chosen: Any, files: ResourceConfig) -> tuple[DevSet, SearchConfig, Path]:
    """The encoded development set, the options that the search begins with, and the folder of the model."""
    from hainan_k2.decode import DecodeConfig, load
    from hainan_k2.device import pick_device
    from hainan_k2.formats.model_dir import find_model, read_decoding, read_own_lm
    from hainan_k2.search import check_methods, choose_methods
    from hainan_k2.search.choosing import with_own_lm
    from hainan_k2.search.resources import load_resources
    from hainan_k2.training.encoder_output import encoder_sha256
    from hainan_k2.tuning.dev_set import DevSet, encode_cuts

    check_methods([config.method])
    first_options(config.method, chosen)  # wrong ones are an error before anything is loaded
    shared = {f.name for f in fields(DecodeConfig)} - {"method"}
    model, tokenizer = load(DecodeConfig(**{k: v for k, v in vars(config).items() if k in shared}))
    model.to(pick_device(config.device))
    folder = find_model(config.model) if config.model else Path(config.exp_dir)
    resources = load_resources(files, tokenizer)
    if config.model:
        resources = with_own_lm(resources, [config.method], partial(read_own_lm, folder, tokenizer))
    stored = read_decoding(folder).settings if config.calibrate_only else ()
    options = first_options(config.method, chosen, stored, resources.given())
    choose_methods([config.method], resources, model.config, options.lattice)
    encoded = list(encode_cuts(model, config.cuts, config.max_duration, encoder_sha256(model)))
    return DevSet(model, tokenizer, config.method, options, resources, encoded), options, folder


def yaml_options(
    method: str, options: SearchConfig, values: Mapping[str, Any], files: ResourceConfig
) -> dict[str, Any]:
    """The tuned `values`, the other options of the method that are not its defaults, and the resources that it uses."""
    made = {name: getattr(options, name) for name in METHODS[method].options if name not in values}
    default = METHODS[method].config()
    made = {name: value for name, value in made.items() if value != getattr(default, name)}
    uses = METHODS[method].needs + METHODS[method].uses
    resource_files = {name: value for name, value in as_dict(files).items() if value and name in uses}
    return {"method": method, **values, **made, **resource_files}


def write_yaml(path: Path, content: dict[str, Any], report: Sequence[str]) -> None:
    """Write the options, the lines of the report as comments above them."""
    import yaml

    from hainan_k2.files.atomic import atomic_text

    with atomic_text(path) as stream:
        stream.write("".join(f"# {line}\n" for line in report) + yaml.safe_dump(content, sort_keys=False))


def main(argv: Optional[Sequence[str]] = None) -> None:
    config, options, files = parse(
        argv, "Find the weights of a decoding method on a development set.", TuneConfig, SearchGrid, ResourceConfig
    )
    start_logging()
    with errors_in_one_line():
        print(run(config, options, files))


if __name__ == "__main__":
    main()
