import pytest

from hainan_k2.data.augment import perturb_speed
from hainan_k2.data.extractors import Fbank
from tests.data.corpus import write_cuts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """raw.jsonl.gz without and fbank.jsonl.gz with stored features of the same 60 cuts at three speeds."""
    folder = tmp_path_factory.mktemp("data")
    cuts = perturb_speed(write_cuts(folder / "wav", 20)).to_eager()
    cuts.to_file(folder / "raw.jsonl.gz")
    cuts.compute_and_store_features(Fbank(), folder / "fbank", num_jobs=1, progress_bar=False).to_file(
        folder / "fbank.jsonl.gz"
    )
    return folder
