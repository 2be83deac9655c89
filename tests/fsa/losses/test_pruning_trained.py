"""On a model trained for a few epochs, bands from TDT occupancies cost less than 1 %, bands from RNN-T ones more."""

from hainan_k2 import train
from hainan_k2.data.batches import EvaluationData
from hainan_k2.data.config import DataConfig
from hainan_k2.formats.checkpoint import load_model, select_checkpoints
from hainan_k2.text.tokenizer import Tokenizer
from tests.fsa.losses.pruning_excess import pruning_excess
from tests.toy import train_command


def test_five_positions_are_enough_when_tdt_occupancies_choose_them(toy):
    train.main(train_command(toy, "banded", "--max-duration", "8", "--num-epochs", "6", "--prune-warmup", "50"))
    model, _ = load_model(select_checkpoints(toy / "banded", None, 1))
    tokenizer = Tokenizer(toy / "lang")
    data = EvaluationData(toy / "dev.jsonl.gz", DataConfig(max_duration=20, num_workers=0), model.config)
    full, excess = pruning_excess(model, (batch.with_targets(tokenizer) for batch in data), band=5)
    assert full > 0 and 0 <= excess["tdt"] < 0.01 < excess["rnnt"]
