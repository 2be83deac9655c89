import pytest
import torch

from hainan_k2.config import ModelConfig
from hainan_k2.model.hainan import Hainan
from recipes.librispeech.local.add_norm_out import with_norm_out


def test_the_norms_change_the_frames_as_little_as_they_can():
    torch.manual_seed(0)
    model = Hainan(ModelConfig.preset("tiny", vocab_size=10, norm_out=False)).eval()
    with torch.no_grad():
        for layer in model.encoder.layers:  # frames of different deviation and mean in every channel
            layer.norm_feed_forward2.bias.normal_()
    features = [torch.randn(200, 80), torch.randn(90, 80)]
    new = with_norm_out(model, features)
    assert new.config.norm_out and not model.config.norm_out

    def error(changed):
        with torch.no_grad():
            (before, _), (after, _) = (m.encoder(features[0][None], torch.tensor([200])) for m in (model, changed))
        return float((before - after).square().mean() / before.var())

    fitted = error(new)
    for layer in new.encoder.layers:
        torch.nn.init.ones_(layer.norm_out.weight)
        torch.nn.init.zeros_(layer.norm_out.bias)
    assert fitted < 0.5 * error(new)
    with pytest.raises(ValueError, match="has norm_out already"):
        with_norm_out(new, features)
