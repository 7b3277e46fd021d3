"""Every test starts from the same state of torch's global generator, so that it says the same each time."""

import os

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


def pytest_configure(config: pytest.Config) -> None:
    """Where there is a GPU, tests are those of a CPU, but for those of tests/test_cuda.py when it is named."""
    if not any("test_cuda" in word for word in config.args):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of slow modules and puts them first: what is left at the end, when a core waits, is short."""
    for item in items:
        if item.path.stem.removeprefix("test_") in SLOW:
            item.add_marker("slow")
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_flush_denormal(False)  # training switches it on for its process; hypothesis draws such numbers
