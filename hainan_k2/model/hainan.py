"""The HAINAN model (arXiv 2410.02597): a Token-and-Duration Transducer that also speaks without its predictor."""

from __future__ import annotations

from typing import Optional

from torch import Tensor, nn

from hainan_k2.config import ModelConfig
from hainan_k2.model.encoder import FastConformer
from hainan_k2.model.joiner import Joiner
from hainan_k2.model.predictor import make_predictor
from hainan_k2.model.whisper import WhisperConformer


class Hainan(nn.Module):
    """Encoder, predictor and joiner, with two heads that only training uses.

    `ctc` (optional): an auxiliary CTC head over encoder frames. `simple_am`, `simple_lm`: the additive joint of the
    pruned loss, whose occupancies choose the band (arXiv 2206.13236, section 3).

    >>> model = Hainan(ModelConfig.preset("tiny", vocab_size=20)).eval()
    >>> encoder_out, lens = model.encoder(torch.randn(2, 160, 80), torch.tensor([160, 120]))
    >>> encoder_out.shape, lens.tolist()
    (torch.Size([2, 20, 64]), [20, 15])
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.encoder = WhisperConformer(config) if config.encoder == "whisper" else FastConformer(config)
        self.predictor = make_predictor(config)
        self.joiner = Joiner(config)
        outputs = config.vocab_size + len(config.durations)
        self.simple_am = nn.Linear(config.d_model, outputs)
        self.simple_lm = nn.Linear(config.predictor_dim, outputs)
        self.ctc: Optional[nn.Linear] = nn.Linear(config.d_model, config.vocab_size) if config.ctc else None

    @property
    def durations(self) -> tuple[int, ...]:
        """Duration of each duration class, in encoder frames. An index is not a duration: look it up here."""
        return self.config.durations

    @property
    def pretrained(self) -> Optional[nn.Module]:
        """The part that comes with weights of its own; None where all is trained from scratch."""
        return self.encoder.whisper if self.config.encoder == "whisper" else None

    @property
    def vocab_size(self) -> int:
        """V, blank (id 0) included."""
        return self.config.vocab_size

    def ctc_log_probs(self, encoder_out: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, V) natural-log CTC posteriors; ValueError where the model has no CTC head."""
        if self.ctc is None:
            raise ValueError("this model has no CTC head: train it with --ctc true")
        return self.ctc(encoder_out).log_softmax(-1)
