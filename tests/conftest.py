"""Every test starts from the same state of torch's global generator, so that it says the same each time."""

from collections.abc import Sequence

import pytest
import torch

# About what: modules that take more than 15 s of a core, most of them for runs and commands in processes of their own.
# All others are fast: pytest -m "not slow".
SLOW = {
    *("ablation", "accept", "bench", "config", "discriminator", "drill", "engines", "evaluate", "evidence"),
    *(
        "interruptions",
        "offline_phase",
        "on_engines",
        "page",
        "pipeline",
        "resume",
        "road",
        "sources",
        "until",
        "verify",
    ),
}


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Marks the tests of slow modules."""
    for item in items:
        if item.path.stem.removeprefix("test_") in SLOW:
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_flush_denormal(False)  # training switches it on for its process; hypothesis draws such numbers
