"""The HAINAN model (arXiv 2410.02597): a Token-and-Duration Transducer that also decodes without its predictor."""

from __future__ import annotations

from typing import Optional, Union

from torch import Tensor, nn

from hainan_k2.config import ModelConfig
from hainan_k2.model.encoder import FastConformer
from hainan_k2.model.joiner import Joiner
from hainan_k2.model.predictor import Predictor, make_predictor
from hainan_k2.model.whisper import WhisperConformer

Encoder = Union[FastConformer, WhisperConformer]


class Hainan(nn.Module):
    """Encoder, predictor and joiner, and the heads that only training uses.

    simple_am, simple_lm: the additive joint of the simple loss, whose occupancies choose the bands of the pruned loss
    (arXiv 2206.13236, section 3). ctc: a CTC head on the encoder frames, or None. A model of objective ctc has no
    predictor and no joiner.

    >>> model = Hainan(ModelConfig.preset("tiny", vocab_size=20)).eval()
    >>> encoder_out, lens = model.encoder(torch.randn(2, 160, 80), torch.tensor([160, 120]))
    >>> encoder_out.shape, lens.tolist()
    (torch.Size([2, 20, 64]), [20, 15])
    >>> tokens, durations = model.joiner.log_probs(model.joiner.project_encoder(encoder_out))  # the NAR joint
    >>> tokens.shape, durations.shape
    (torch.Size([2, 20, 20]), torch.Size([2, 20, 9]))
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.vocab_size < 2:
            raise ValueError(f"vocab_size is {config.vocab_size}: a model has blank and at least one token")
        self.config = config
        self.encoder: Encoder = WhisperConformer(config) if config.encoder == "whisper" else FastConformer(config)
        if config.objective != "ctc":
            self.predictor: Predictor = make_predictor(config)
            self.joiner = Joiner(config)
            outputs = self.joiner.out.out_features
            self.simple_am = nn.Linear(config.d_model, outputs)
            self.simple_lm = nn.Linear(config.predictor_dim, outputs)
        self.ctc: Optional[nn.Linear] = nn.Linear(config.d_model, config.vocab_size) if config.ctc else None
        self.encoder_frozen = False

    def freeze_encoder(self) -> None:
        """Fix the encoder: its weights get no gradient, and `train()` leaves it in evaluation mode, so that it has no
        dropout and its batch norms keep their statistics."""
        self.encoder_frozen = True
        self.encoder.requires_grad_(False)
        self.encoder.eval()

    def train(self, mode: bool = True) -> Hainan:
        """nn.Module.train for all parts but a frozen encoder."""
        super().train(mode)
        if self.encoder_frozen:
            self.encoder.eval()
        return self

    @property
    def durations(self) -> tuple[int, ...]:
        """The duration of each duration class, in encoder frames. The class itself is only an index."""
        return self.config.durations

    @property
    def pretrained(self) -> Optional[nn.Module]:
        """The module that starts from published weights; None if the whole model is trained from scratch."""
        return self.encoder.whisper if isinstance(self.encoder, WhisperConformer) else None

    @property
    def vocab_size(self) -> int:
        """V, including blank (id 0)."""
        return self.config.vocab_size

    def ctc_log_probs(self, encoder_out: Tensor) -> Tensor:
        """CTC log-posteriors (B, T, V), natural log, of encoder frames (B, T, C); ValueError without a CTC head."""
        if self.ctc is None:
            raise ValueError("this model has no CTC head: train it with --ctc true")
        return self.ctc(encoder_out).log_softmax(-1)
