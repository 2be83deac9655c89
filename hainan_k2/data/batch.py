"""Batch: what the model is given, features with their texts. Needs no lhotse."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Optional

import torch
from torch import Tensor

from hainan_k2.data.long_utterance import LongUtterance
from hainan_k2.text.tokenizer import Tokenizer

PADDING = 1  # of targets: any token but blank will do, since target_lens tells what counts


@dataclass(frozen=True)
class Batch:
    """A padded batch of B utterances.

    Args:
      features: (B, T, F) float32.
      lens: (B,) int64, feature frames of each utterance.
      ids: cut ids.
      texts: reference texts.
      seconds: lengths in seconds.
      targets: (B, U) int64 token ids, padded with PADDING; in training only.
      target_lens: (B,) int64 numbers of tokens; in training only.
      encoded: `features` are encoder output (B, T', C), 80 ms frames, that was stored; the encoder is skipped.
      long: the input of the one utterance of the batch, if it is too long to be encoded at once. `features` is empty.
    """

    features: Tensor
    lens: Tensor
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    seconds: tuple[float, ...]
    targets: Optional[Tensor] = None
    target_lens: Optional[Tensor] = None
    encoded: bool = False
    long: Optional[LongUtterance] = None

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`; from pinned memory the copy does not block."""
        tensors: dict[str, Any] = {
            name: value.to(device, non_blocking=True) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)

    def with_targets(self, tokenizer: Tokenizer) -> Batch:
        """The same batch with its texts as token ids."""
        targets = [tokenizer.encode(text) for text in self.texts]
        width = max(map(len, targets), default=0)
        padded = torch.tensor([ids + [PADDING] * (width - len(ids)) for ids in targets], dtype=torch.int64)
        return replace(self, targets=padded.view(len(targets), width), target_lens=torch.tensor([*map(len, targets)]))

    @classmethod
    def of_long(cls, long: LongUtterance, name: str, text: str, seconds: float) -> Batch:
        """A Batch of one utterance that is to be encoded in windows."""
        empty, lens = torch.zeros(1, 0, long.spec.num_bins), torch.zeros(1, dtype=torch.int64)
        return cls(empty, lens, (name,), (text,), (seconds,), long=long)

    @classmethod
    def of_supervisions(cls, batch: dict[str, Any], encoded: bool = False) -> Batch:
        """A Batch of what `hainan_k2.data.dataset.SpeechDataset` returns, whose row b is supervision b."""
        supervisions = batch["supervisions"]
        return cls(
            batch["inputs"],
            supervisions["num_frames"].long(),
            tuple(supervisions["cut_id"]),
            tuple(supervisions["text"]),
            tuple(supervisions["seconds"]),
            encoded=encoded,
        )
