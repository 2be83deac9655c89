import pytest
import torch

from tests.frontend.containers import write


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """One thread is fastest for small tensors, above all on shared cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def mp3(tmp_path):
    return write(tmp_path, "MP3", "MPEG_LAYER_III")[0]
