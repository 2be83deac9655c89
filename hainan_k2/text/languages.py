"""Text normalisation of Czech, Dutch, French, German, Italian, Russian and Spanish: one table, one function.

The rules are those of English (hainan_k2.text.normalise), with the letters of each language: lower case, nothing in
brackets, no punctuation but apostrophes within words, digits and signs in words. The library num2words spells the
numbers; only texts with digits need it (`pip install num2words`, or the extra `languages` of this package).

Numbers are not inflected: German "am 3. Mai" becomes "am drei mai", Russian and Czech numbers are in the nominative.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property

from hainan_k2.text.normalise import NOT_WORD, composed

INVISIBLE = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")  # soft hyphens and the like: they separate no words
STRESS = re.compile("[\u0300-\u036f]")  # marks that no letter of these languages is composed of
LARGEST = 10**12  # longer numbers, and those with a zero in front, are read digit by digit


@dataclass(frozen=True)
class Language:
    """How texts of a language are normalised.

    Args:
      code: the language's name in num2words.
      thousands: the character between groups of three digits.
      comma, point: the words for "," and "." between digits; decimals are read digit by digit.
      signs: the words for signs.
      ordinal: a regular expression of what follows the digits of an ordinal; "": ordinals are read as cardinals.
      feminine: the endings, of those, that make an ordinal feminine.
      apostrophes: words that begin or end with an apostrophe.
      years: numbers of four digits from 1100 to 1999 are read as years, in hundreds.
    """

    code: str
    thousands: str
    comma: str
    point: str
    signs: dict[str, str]
    ordinal: str = ""
    feminine: tuple[str, ...] = ()
    apostrophes: frozenset[str] = field(default_factory=frozenset)
    years: bool = False

    @cached_property
    def number(self) -> re.Pattern[str]:
        """A number with its decimals or the ending of an ordinal."""
        ending = rf"|(?P<ordinal>{self.ordinal})(?!\w)" if self.ordinal else "|(?P<ordinal>(?!))"
        group = re.escape(self.thousands)
        return re.compile(
            rf"(?P<whole>[1-9]\d{{0,2}}(?:{group}\d{{3}})+(?!\d)|\d+)(?:(?P<mark>[.,])(?P<decimals>\d+){ending})?"
        )

    def normalise(self, text: str) -> str:
        """The normal form of a text; normalising it again changes nothing.

        Raises ValueError where the text has digits and num2words is not installed.

        >>> LANGUAGES["french"].normalise("L'ÉTÉ (rires) — n'est-ce pas ?")
        "l'été n'est ce pas"
        """
        text = unicodedata.normalize("NFC", STRESS.sub("", composed(INVISIBLE.sub("", text))))
        text = self.number.sub(self._spell, text)
        for sign, word in self.signs.items():
            text = text.replace(sign, f" {word} ")
        words = NOT_WORD.sub(" ", text).split()
        kept = [word if word in self.apostrophes else word.strip("'") for word in words]
        return " ".join(filter(None, kept))

    def _spell(self, match: re.Match[str]) -> str:
        whole = match["whole"].replace(self.thousands, "")
        if match["ordinal"] and int(whole) < LARGEST:
            words = self._words(int(whole), "ordinal")
            if match["ordinal"].strip(".-") in self.feminine:
                words = re.sub(r"(?:o|(?<=i)er)\b", lambda end: "a" if end[0] == "o" else "ère", words)
            return f" {words} "
        spelt = self._integer(whole, plain=whole == match["whole"])
        if match["decimals"]:
            spelt += f" {self.comma if match['mark'] == ',' else self.point} {self._digits(match['decimals'])}"
        return f" {spelt} "

    def _integer(self, digits: str, plain: bool) -> str:
        number = int(digits)
        if (digits[0] == "0" and len(digits) > 1) or number >= LARGEST:
            return self._digits(digits)
        if self.years and plain and len(digits) == 4 and 1100 <= number < 2000:
            return self._words(number, "year").replace(" ", "")
        return self._words(number)

    def _digits(self, digits: str) -> str:
        return " ".join(self._words(int(digit)) for digit in digits)

    def _words(self, number: int, kind: str = "cardinal") -> str:
        try:
            from num2words import num2words
        except ImportError:
            raise ValueError(
                f"num2words, which spells the number {number} of a text, is not installed: `pip install num2words`, or "
                "write numbers in words"
            ) from None
        spelt: str = num2words(number, lang=self.code, to=kind)
        return spelt.lower()


def _signs(percent: str, ampersand: str, plus: str, equals: str, euro: str = "euro") -> dict[str, str]:
    return {"%": percent, "&": ampersand, "+": plus, "=": equals, "€": euro}


# By the name of the normalisation.
LANGUAGES = {
    "czech": Language("cs", " ", "celá", "tečka", _signs("procent", "a", "plus", "rovná se")),
    "dutch": Language(
        "nl",
        ".",
        "komma",
        "punt",
        _signs("procent", "en", "plus", "is"),
        ordinal="e|de|ste",
        apostrophes=frozenset(("'t", "'s", "'n", "'k", "'m", "'r", "'ns")),
        years=True,
    ),
    "french": Language(
        "fr",
        " ",
        "virgule",
        "point",
        _signs("pour cent", "et", "plus", "égale", "euros"),
        ordinal="ers?|res?|ère|nde?|es?|[eè]mes?",
        feminine=("re", "res", "ère"),
    ),
    "german": Language(
        "de",
        ".",
        "komma",
        "punkt",
        _signs("prozent", "und", "plus", "gleich"),
        apostrophes=frozenset(("'s", "'n", "'ne", "'nen", "'nem", "'ner")),
        years=True,
    ),
    "italian": Language(
        "it",
        ".",
        "virgola",
        "punto",
        _signs("per cento", "e", "più", "uguale a"),
        ordinal=r"\.?[oa]",
        feminine=("a",),
        apostrophes=frozenset(("po'", "mo'", "va'", "fa'", "da'", "di'", "sta'", "be'", "'sto", "'sta")),
    ),
    "russian": Language("ru", " ", "целых", "точка", _signs("процентов", "и", "плюс", "равно", "евро"), ordinal="-?й"),
    "spanish": Language(
        "es",
        ".",
        "coma",
        "punto",
        _signs("por ciento", "y", "más", "igual a", "euros"),
        ordinal=r"\.?(?:[oa]s?|er)",
        feminine=("a", "as"),
    ),
}
