"""Models of NeMo: FastConformer TDT, RNN-T, CTC and hybrid models with BPE tokens, in .nemo archives or folders.

The files are read by formats/nemo_archive.py, the options by formats/nemo_config.py, the weights by
formats/nemo_weights.py. Neither NeMo nor any code of the file is needed or run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hainan_k2.config import shown
from hainan_k2.files.checksum import sha256_of
from hainan_k2.files.plain_yaml import load_yaml
from hainan_k2.files.tensors import Stored
from hainan_k2.files.torch_archive import open_torch_archive
from hainan_k2.formats.foreign_options import Section
from hainan_k2.formats.imported import Imported
from hainan_k2.formats.nemo_archive import CONFIG, WEIGHTS, NemoFiles, open_nemo
from hainan_k2.formats.nemo_config import ignored, model_class, model_config
from hainan_k2.formats.nemo_weights import our_weights
from hainan_k2.text.imported import import_sentencepiece
from hainan_k2.text.tokenizer import Tokenizer


@contextmanager
def read_nemo(path: Path) -> Iterator[Imported]:
    """A context with the model of a .nemo archive, or of the folder that one was unpacked to, checked.

    Raises ValueError, in one line that names the file, for a model that is damaged or not supported.
    """
    with open_nemo(path) as files:
        values = load_yaml(files.read(CONFIG), files.label(CONFIG))
        config = model_config(values, files.label(CONFIG))
        tokenizer = _tokenizer(files, values)
        weights_path = path / WEIGHTS if path.is_dir() else path
        provenance = {
            "imported": {
                "file": path.name,
                "sha256": sha256_of(weights_path),
                "program": f"NeMo {values.get('nemo_version', 'of an unknown version')}",
                "class": model_class(Section(values, files.label(CONFIG))),
                "ignored": ignored(values),
            }
        }
        with files.open(WEIGHTS) as stream, open_torch_archive(stream, files.label(WEIGHTS)) as state:
            weights = our_weights(tensors_of(state, files.label(WEIGHTS)), config)
            model = Imported(path, config, weights, tokenizer, provenance)
            model.check()
            yield model


def tensors_of(state: Any, where: str) -> Mapping[str, Stored]:
    """The tensors of a checkpoint by NeMo's names; ValueError where it contains anything else."""
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    if not isinstance(state, dict) or not state:
        raise ValueError(f"{where} holds no dict of tensors")
    tensors = {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Stored)}
    if len(tensors) < len(state):
        raise ValueError(f"{where} holds other objects than tensors")
    return tensors


def _tokenizer(files: NemoFiles, values: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that the section `tokenizer` names."""
    section = Section(values, files.label(CONFIG)).section("tokenizer")
    kind = section.get("type")
    if kind == "agg":
        raise ValueError(
            f"{section.name}: aggregate tokenizers are not supported: it has {shown(section.get('langs'))}"
        )
    section.require("type", None, "bpe", "unigram")
    name = section.get("model_path")
    name = name[len("nemo:") :] if isinstance(name, str) and name.startswith("nemo:") else name
    if not isinstance(name, str) or not name.endswith(".model") or "/" in name or "\\" in name:
        raise ValueError(f"{section.name}: model_path {shown(name)} names no SentencePiece model in the archive")
    return import_sentencepiece(files.read(name), files.label(name))
