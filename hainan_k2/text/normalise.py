"""Text normalisation: one normal form of transcripts for training, decoding and scoring.

`normalise` is applied to the texts of manifests and to both sides of a comparison, so that training, decoding and WER
agree on what a word is. Numbers, signs, currencies and titles are written out in English.
"""

from __future__ import annotations

import re
import unicodedata

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
SCALES = ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (100, "hundred"))
ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
TITLES = {"mr": "mister", "mrs": "missus", "dr": "doctor"}
SIGNS = {"&": "and", "+": "plus", "=": "equals"}
CURRENCIES = {"$": ("dollar", "dollars"), "£": ("pound", "pounds"), "€": ("euro", "euros")}
# Words that are written with an apostrophe in front: it does not open a quotation.
ELISIONS = "bout|cause|cept|em|n|round|til|till|tis|twas|twill"

BRACKETED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}|<[^<>]*>")
QUOTED = re.compile(rf"(?<!\w)'(?!(?:{ELISIONS})\b)([^']+(?:'\w[^']*)*)'(?!\w)")
NUMBER = re.compile(
    r"(?P<currency>[$£€])?\s*(?P<int>\d{1,3}(?:,\d{3})+|\d+)"
    r"(?:(?P<minutes>:[0-5]\d)(?!\d)|(?P<fraction>\.\d+))?(?P<suffix>st|nd|rd|th|'?s)?(?!\d)"
)
BETWEEN = re.compile(r"(?<=\w)\s*([&+=])\s*(?=\w)")
NOT_WORD = re.compile(r"[^\w']|_")


def normalise(text: str) -> str:
    """The normal form of a text: lower case, digits written out in English, no punctuation but apostrophes.

    Text in brackets of any kind, such as stage directions and noise marks, is removed. Normalising twice changes
    nothing more.

    >>> normalise("Dr. Smith (sighs) paid $1,250 on the 3rd of May, 1947 -- \\"Don't!\\"")
    "doctor smith paid one thousand two hundred fifty dollars on the third of may nineteen forty seven don't"
    """
    text = NUMBER.sub(_spell_match, composed(text))
    text = BETWEEN.sub(lambda sign: f" {SIGNS[sign[1]]} ", text).replace("%", " percent ")
    text = _replace_all(QUOTED, r" \1 ", NOT_WORD.sub(" ", text))
    return " ".join(TITLES.get(word, word) for word in text.split() if word.strip("'"))


def composed(text: str) -> str:
    """The text in lower case and compatibility composition, with one kind of apostrophe and without brackets."""
    text = unicodedata.normalize("NFKC", text).lower()
    return _replace_all(BRACKETED, " ", re.sub("[\u2018\u2019\u02bc`\u00b4]", "'", text))


def _replace_all(pattern: re.Pattern[str], by: str, text: str) -> str:
    """Replace until nothing matches any more, because brackets and quotations may be nested."""
    before = None
    while before != text:
        before, text = text, pattern.sub(by, text)
    return text


def spell_number(number: int) -> str:
    """A cardinal number in words, without "and": 342 -> three hundred forty two.

    Raises:
      ValueError: for a number below 0, or of 10^12 and more.
    """
    if not 0 <= number < 10**12:
        raise ValueError(f"number {number} is outside [0, 10^12): read it digit by digit")
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10 - 2] + (f" {ONES[number % 10]}" if number % 10 else "")
    size, name = next(scale for scale in SCALES if number >= scale[0])
    rest = number % size
    return f"{spell_number(number // size)} {name}" + (f" {spell_number(rest)}" if rest else "")


def spell_ordinal(number: int) -> str:
    """An ordinal in words: 21 -> twenty first."""
    *head, last = spell_number(number).split()
    if last not in ORDINALS:
        last = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return " ".join([*head, ORDINALS.get(last, last)])


def spell_year(year: int) -> str:
    """A year from 1100 to 2099 in words: nineteen oh five, nineteen hundred, two thousand nine."""
    century, rest = divmod(year, 100)
    if century == 20 and rest < 10:
        return spell_number(year)
    if rest == 0:
        return f"{spell_number(century)} hundred"
    return f"{spell_number(century)} {'oh ' if rest < 10 else ''}{spell_number(rest)}"


def _spell_match(match: re.Match[str]) -> str:
    digits, suffix = match["int"].replace(",", ""), match["suffix"] or ""
    number = int(digits)
    whole = _spell_integer(match["int"])
    if match["minutes"] and number < 25:
        whole = _spell_time(number, int(match["minutes"][1:]))
    elif match["minutes"]:
        whole += f" {_spell_integer(match['minutes'][1:])}"
    elif match["fraction"] and not match["currency"]:
        whole += " point " + " ".join(ONES[int(d)] for d in match["fraction"][1:])
    elif suffix in ("st", "nd", "rd", "th") and number < 10**12:
        whole, suffix = spell_ordinal(number), ""
    if suffix in ("s", "'s"):  # decades and the like: 1940s, 40s
        whole, suffix = (whole[:-1] + "ies" if whole.endswith("y") else whole + "s"), ""
    if match["currency"]:
        cents = int(match["fraction"][1:3].ljust(2, "0")) if match["fraction"] else 0
        whole = spell_number(number) if number < 10**12 else whole
        whole += " " + CURRENCIES[match["currency"]][number != 1]
        whole += f" {spell_number(cents)}" if cents else ""
    return f" {whole} {suffix}"


def _spell_integer(written: str) -> str:
    number = int(written.replace(",", ""))
    if "," not in written and len(written) == 4 and 1100 <= number < 2100:
        return spell_year(number)
    if (written[0] == "0" and len(written) > 1) or number >= 10**12:  # a code or a telephone number
        return " ".join(ONES[int(digit)] for digit in written if digit != ",")
    return spell_number(number)


def _spell_time(hour: int, minutes: int) -> str:
    if minutes == 0:
        return spell_number(hour) + (" o'clock" if 1 <= hour <= 12 else " hundred")
    return f"{spell_number(hour)} {'oh ' if minutes < 10 else ''}{spell_number(minutes)}"
