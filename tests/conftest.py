"""Settings of every test: deterministic algorithms, no TF32, the device to run on."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def numerics():
    """Make runs repeatable. ``torch.empty`` is then filled with NaN: an element a kernel forgot to write shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


@pytest.fixture(params=["cpu", "cuda"])
def device(request) -> torch.device:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device(request.param)
