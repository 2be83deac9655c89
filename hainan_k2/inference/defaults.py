"""Defaults: what a recogniser does where nothing is chosen: its method, options and language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Optional

from hainan_k2.confidence import Calibration
from hainan_k2.config import ModelConfig
from hainan_k2.formats.model_dir import has_lm, read_own_lm
from hainan_k2.fsa.language.lm_file import Lm
from hainan_k2.search import NO_RESOURCES, DecodingResources, SearchConfig, check_methods, choose_methods
from hainan_k2.search.choosing import default_method, with_own_lm
from hainan_k2.search.settings import Decoding, setting_of
from hainan_k2.search.sweep import Row, make_rows
from hainan_k2.text.tokenizer import Tokenizer


class Defaults:
    """Of a model with this tokenizer and configuration.

    Args:
      decoding: what is stored with the model.
      folder: the model directory, which may have a language model; None: there is none.
    """

    def __init__(self, decoding: Decoding, folder: Optional[Path], tokenizer: Tokenizer, config: ModelConfig):
        self.decoding, self.folder, self.tokenizer, self.config = decoding, folder, tokenizer, config
        self._lm: Optional[Lm] = None  # once a search has needed it

    def method(self, resources: DecodingResources = NO_RESOURCES) -> str:
        """The method that is used if none is named: the first of the directory's that can run here, of those that take
        most of these resources; ar-greedy, or ctc-greedy, where the directory names none."""
        given = resources.given()
        own = ("lm",) if not resources.lm_origin and self.folder is not None and has_lm(self.folder) else ()
        return default_method(self.decoding.methods, (*given, *own), self.config, given)

    def with_own_lm(self, resources: DecodingResources, methods: Sequence[str]) -> DecodingResources:
        """The resources with the directory's language model, where one of the methods takes one and none was named."""
        return with_own_lm(resources, methods, self._read_lm)

    def search(
        self, method: str, resources: DecodingResources, options: Optional[SearchConfig] = None
    ) -> tuple[Row, DecodingResources]:
        """A method, or the default one if the name is empty, with its options and resources.

        Without `options` it has those that are stored for these resources, or the method's defaults. Raises ValueError
        where the method cannot run.
        """
        method = method or self.method(resources)
        check_methods([method])
        loaded = self.with_own_lm(resources, [method])
        choose_methods([method], loaded, self.config, "nar" if options is None else options.lattice)
        if method == "all":
            raise ValueError("method all gives several results for an input: name one method")
        (row,) = make_rows([method], settings=self.decoding.settings, given=loaded.given())
        return (replace(row, options=options) if options else row), loaded

    def calibration(self, method: str, resources: DecodingResources) -> Optional[Calibration]:
        """That of a method's confidences with these resources, where it is stored."""
        stored = setting_of(method, resources.given(), self.decoding.settings)
        return stored.calibration if stored else None

    def _read_lm(self) -> Optional[Lm]:
        if self._lm is None and self.folder is not None:
            self._lm = read_own_lm(self.folder, self.tokenizer)
        return self._lm
