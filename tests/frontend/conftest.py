import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """One thread is fastest for small tensors, above all on shared cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
