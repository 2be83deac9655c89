"""Texts to train tokenizers and language models on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from hainan_k2.text import normalise


def read_texts(cuts: Iterable[str], files: Iterable[str], normalise: Callable[[str], str] = normalise) -> Iterator[str]:
    """The normalised lines of text files and texts of cut manifests, without empty ones.

    `normalise` is `Tokenizer.normalise` where the texts are for one tokenizer: imported ones take texts as they are.
    Speed-perturbed copies of a cut, which lhotse names ID_sp0.9 and so on, are skipped.

    Raises:
      ValueError: "FILE:LINE: ..." if a file is not UTF-8.
    """
    for path in files:
        with open(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    text = normalise(line.decode("utf-8-sig" if number == 1 else "utf-8"))
                except UnicodeDecodeError:
                    raise ValueError(f"{path}:{number}: not UTF-8 text") from None
                if text:
                    yield text
    if cuts:
        from lhotse import CutSet
    for path in cuts:
        for cut in CutSet.from_file(path):
            if "_sp" not in cut.id:
                yield from filter(None, (normalise(s.text or "") for s in cut.supervisions))
