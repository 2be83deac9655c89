"""Find the weights of the method rescore on a development set.

    hainan-tune --model released --cuts cuts_dev.jsonl.gz --lm mix.arpa --lm-scale 0.7 --token-bonus 2 --out best.yaml

The n-best lists are made once, and their texts are scored once. The weights with the fewest word errors are then found
by a search over the weighted sums. They are written as options for decode.py and transcribe.py, together with those
that made the lists:

    hainan-decode --config best.yaml --model released --cuts cuts_test.jsonl.gz

Prints the word error rate of the lattice's best texts, that of the rescored ones with its confidence interval, and the
bound, that of the best texts on the lists.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

if __package__ in (None, ""):  # run as a script: its folder is on sys.path, but the package's parent should be
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from hainan_k2.cli import HelpPage, errors_in_one_line, parse, start_logging
from hainan_k2.config import as_dict, option
from hainan_k2.search.methods import METHODS, RESCORING
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import ResourceConfig

if TYPE_CHECKING:
    from hainan_k2.model.hainan import Hainan
    from hainan_k2.scoring.tuning import ScoredTexts
    from hainan_k2.search.resources import DecodingResources
    from hainan_k2.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)
METHOD, DEFAULT = METHODS["rescore"], SearchConfig()
BOUNDS = {"ar_weight": (0.0, 1.0), "lm_weight": (0.0, 2.0), "ctc_weight": (0.0, 1.0), "length_bonus": (-2.0, 5.0)}


@dataclass(frozen=True)
class TuneConfig:
    model: str = option("", "model directory of export.py, or released; instead of --exp-dir and --lang-dir")
    exp_dir: str = option("exp", "experiment folder of train.py")
    epoch: Optional[int] = option(None, "last of the epoch checkpoints to average; none: the newest", at_least=1)
    avg: int = option(1, "how many epoch checkpoints to average", at_least=1)
    lang_dir: str = option("", "folder with bpe.model, of hainan-train-bpe")
    cuts: str = option("", "lhotse cuts of the development set, .jsonl.gz (required)")
    out: str = option("", "YAML file to write: options for --config of decode.py and transcribe.py (required)")
    max_duration: float = option(60.0, "seconds of audio in a batch, padding included", above=0)
    seed: int = option(0, "of the search for the weights", at_least=0)
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto: cuda where there is one")

    help_title = "input and output"

    @staticmethod
    def help_page(argv: Sequence[str], prog: str, example: str) -> HelpPage:
        taken = {*METHOD.options, *METHOD.uses} - set(RESCORING)
        names = [f.name for cls in (SearchConfig, ResourceConfig) for f in fields(cls)]
        return HelpPage(hidden=[name for name in names if name not in taken])

    def __post_init__(self) -> None:
        if not self.cuts or not self.out:
            raise ValueError("--cuts and --out are required: a development set, and the file to write")


def weigh(texts: ScoredTexts, seed: int) -> dict[str, float]:
    """The values of the options `ar_weight`, `lm_weight`, `ctc_weight` and `length_bonus` with the fewest word errors.

    A weight whose term the lists do not have stays 0.
    """
    from hainan_k2.scoring.tuning import tune
    from hainan_k2.search.rescore import term_weights

    names = [name for name in BOUNDS if name.split("_")[0] in texts.terms]

    def options(values: Sequence[float]) -> dict[str, float]:
        return {**dict.fromkeys(BOUNDS, 0.0), **dict(zip(names, values))}

    found = tune(texts, [BOUNDS[name] for name in names], lambda values: term_weights(weighted(options(values))), seed)
    return options(found)


def weighted(values: Mapping[str, Any], options: SearchConfig = DEFAULT) -> SearchConfig:
    """`options` with the given values in their places."""
    return replace(options, **values)


def score_lists(
    model: Hainan,
    tokenizer: Tokenizer,
    config: TuneConfig,
    options: SearchConfig,
    resources: DecodingResources,
) -> ScoredTexts:
    """The n-best lists of all cuts, with the scores and the word errors of their texts.

    Cuts that are longer than the method searches at once are named in the log and left out.
    """
    import kaldialign
    import numpy as np

    from hainan_k2.data.batches import EvaluationData
    from hainan_k2.data.config import DataConfig
    from hainan_k2.inference.engine import encode_batch
    from hainan_k2.scoring.tuning import ScoredTexts
    from hainan_k2.search.nbest import words_of
    from hainan_k2.search.rescore import scored_lists
    from hainan_k2.text import normalise

    longest = METHOD.longest(options, resources)
    device = next(model.parameters()).device
    parts: list[Mapping[str, Any]] = []
    owners: list[int] = []
    errors: list[int] = []
    lengths: list[int] = []
    data = EvaluationData(
        config.cuts, DataConfig(max_duration=config.max_duration, num_workers=0), model.config, longest=longest
    )
    for batch in data:
        if batch.long is not None:
            logger.warning(
                "%s is left out: %.0f s, lists are made of up to %g s", batch.ids[0], batch.seconds[0], longest
            )
            continue
        batch = batch.to(device)
        encoder_out, lens = encode_batch(model, batch)
        references = [normalise(text).split() for text in batch.texts]
        for part in scored_lists(model, encoder_out, lens, options, resources):
            parts.append(part.terms)
            for row, text in zip(part.candidates.utterance.tolist(), part.candidates.texts):
                b = part.rows[row]
                owners.append(len(lengths) + b)
                errors.append(kaldialign.edit_distance(references[b], words_of(text, tokenizer.pieces))["total"])
        lengths += [len(reference) for reference in references]
    order = np.argsort(owners, kind="stable")  # an utterance may have lists from several lattices
    names = {name for part in parts for name in part}
    columns = {name: np.concatenate([of_term(part, name) for part in parts])[order] for name in sorted(names)}
    return ScoredTexts(columns, np.array(owners)[order], np.array(errors)[order], np.array(lengths))


def of_term(terms: Mapping[str, Any], name: str) -> Any:
    """The scores (N,) of a term as an array; zeros where the lists were made without it."""
    return terms.get(name, 0.0 * terms["length"]).cpu().numpy()


def run(config: TuneConfig, options: SearchConfig, files: ResourceConfig) -> str:
    """Tune, write the options, and return a report. Raises ValueError where there is nothing to tune on."""
    import yaml

    from hainan_k2.decode import DecodeConfig, load
    from hainan_k2.device import pick_device
    from hainan_k2.files.atomic import atomic_text
    from hainan_k2.scoring.significance import compare, interval
    from hainan_k2.search import check_methods, choose_methods
    from hainan_k2.search.rescore import term_weights
    from hainan_k2.search.resources import load_resources

    check_methods([METHOD.name])
    model_options = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in ("out", "seed")}
    model, tokenizer = load(DecodeConfig(**model_options))
    model.to(pick_device(config.device))
    resources = load_resources(files, tokenizer)
    choose_methods([METHOD.name], resources, model.config)
    texts = score_lists(model, tokenizer, config, options, resources)
    values = weigh(texts, config.seed)
    best = weighted(values, options)
    before, after = texts.errors[texts.first], texts.best_errors(term_weights(best))
    lengths = texts.lengths.tolist()
    low, high = interval(after.tolist(), lengths)
    change = compare(before.tolist(), after.tolist(), lengths)
    report = [
        f"{len(lengths)} utterances, {len(texts.utterance)} texts, {sum(lengths)} words",
        f"WER of the lattice's best texts {100 * texts.rate(before):.2f} %, "
        f"of the best on the lists {100 * texts.rate(texts.oracle_errors()):.2f} %",
        f"WER rescored {100 * texts.rate(after):.2f} % [{100 * low:.2f}, {100 * high:.2f}], "
        f"{100 * change.difference:+.2f} points, p = {change.p_value:.3f}; tuned on these utterances",
        *(f"{name}: {value:g}" for name, value in values.items()),
    ]
    made = {name: getattr(options, name) for name in METHOD.options if name not in RESCORING}
    made = {name: value for name, value in made.items() if value != getattr(DEFAULT, name)}
    resource_files = {name: value for name, value in as_dict(files).items() if value and name in METHOD.uses}
    content = {"method": METHOD.name, **values, **made, **resource_files}
    with atomic_text(config.out) as stream:
        stream.write("".join(f"# {line}\n" for line in report[:3]) + yaml.safe_dump(content, sort_keys=False))
    return "\n".join(report)


def main(argv: Optional[Sequence[str]] = None) -> None:
    config, options, files = parse(
        argv, "Find the weights of the method rescore on a development set.", TuneConfig, SearchConfig, ResourceConfig
    )
    start_logging()
    with errors_in_one_line():
        print(run(config, options, files))


if __name__ == "__main__":
    main()
