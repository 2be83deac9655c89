"""What a search may know beside the model: language models, grammars, hotwords. Loaded once, used for every batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional


@dataclass(frozen=True)
class Knowledge:
    """Loaded knowledge; None where none was given. A method says in `Method.needs` which of it it cannot do without."""

    lm: Optional[Any] = None


NOTHING = Knowledge()
