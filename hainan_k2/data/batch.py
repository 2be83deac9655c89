"""Batch: what the model is given, features with their texts. Needs no lhotse."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Optional

import torch
from torch import Tensor

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
    """

    features: Tensor
    lens: Tensor
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    seconds: tuple[float, ...]
    targets: Optional[Tensor] = None
    target_lens: Optional[Tensor] = None

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
    def of_supervisions(cls, batch: dict[str, Any]) -> Batch:
        """A Batch of what `hainan_k2.data.dataset.SpeechDataset` returns, whose row b is supervision b."""
        supervisions = batch["supervisions"]
        return cls(
            batch["inputs"],
            supervisions["num_frames"].long(),
            tuple(supervisions["cut_id"]),
            tuple(supervisions["text"]),
            tuple(supervisions["seconds"]),
        )
