"""Normalisation: what is done to the texts of a model, by its name, in training, in language models and in scoring.

english    lower case, no punctuation, digits and signs in English words (hainan_k2.text.normalise)
german ... the same in Czech, Dutch, French, German, Italian, Russian or Spanish words (hainan_k2.text.languages)
lower      lower case
none       the text as it is written
module:function    a Python function that takes a text and returns one; the user must name it on the command line

A tokenizer states the name in bpe.model, a model directory also in config.json.
"""

from __future__ import annotations

from collections.abc import Callable

from hainan_k2.named_functions import allowed_function, is_function_name
from hainan_k2.text.languages import LANGUAGES
from hainan_k2.text.normalise import normalise

BUILT_IN: dict[str, Callable[[str], str]] = {
    "english": normalise,
    **{name: language.normalise for name, language in LANGUAGES.items()},
    "lower": str.lower,
    "none": str,
}


class Normalisation:
    """The function of a name, which normalises a text; white space becomes single spaces.

    >>> Normalisation("lower")("Zwei  Äpfel!")
    'zwei äpfel!'

    Raises ValueError for other names. A call raises ValueError where the name is that of a Python function that the
    user has not named, that fails, that returns no string, or that changes its own result: texts may pass through it
    more than once.
    """

    def __init__(self, name: str):
        if name not in BUILT_IN and not is_function_name(name):
            raise ValueError(f"text normalisation {name[:80]!r}: it is {', '.join(BUILT_IN)} or module:function")
        self.name = name

    def __call__(self, text: str) -> str:
        if self.name in BUILT_IN:
            return " ".join(BUILT_IN[self.name](text).split())
        once = self._call(text)
        if self._call(once) != once:
            raise ValueError(f"{self.name} changes its own result: {text[:40]!r}, {once[:40]!r}")
        return once

    def _call(self, text: str) -> str:
        function = allowed_function(self.name)
        try:
            result: object = function(text)
        except Exception as error:  # the user's code may raise anything
            raise ValueError(f"{self.name} fails for {text[:40]!r}: {type(error).__name__}: {error}") from error
        if not isinstance(result, str):
            raise ValueError(f"{self.name} returns {type(result).__name__} for {text[:40]!r}, not a string")
        return " ".join(result.split())
