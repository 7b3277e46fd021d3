"""Every test starts from the same state of torch's global generator, so that it says the same each time."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_flush_denormal(False)  # training switches it on for its process; hypothesis draws such numbers
