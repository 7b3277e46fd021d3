"""Where a run is shown while it trains: nowhere, in Weights & Biases or in TensorBoard.

Another place is a kind of Mirror with a file of its own, and an entry in MIRRORS.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from pipeline.runs.folder import Cell, Refused
from pipeline.runs.in_tensorboard import TensorBoard
from pipeline.runs.in_wandb import Wandb
from pipeline.runs.mirror import Mirror, Tracker

OFF = "off"
MIRRORS: dict[str, type[Mirror]] = {"wandb": Wandb, "tensorboard": TensorBoard}  # by the package of each


@contextmanager
def tracker(mode: str, cell: Cell, folder: Path) -> Iterator[Tracker]:
    """A tracker for one run: mode OFF or one of MIRRORS; files go below `folder`.

    Raises ValueError for another mode and nothing else of its own.
    """
    if mode not in (OFF, *MIRRORS):
        raise ValueError(f"tracking={mode} is not one of {', '.join((OFF, *MIRRORS))}")
    if mode == OFF:
        yield Tracker()
        return
    mirror = MIRRORS[mode]()
    mirror.start(cell, folder)
    failed = True
    try:
        yield mirror
        failed = False
    finally:
        mirror.finish(failed)


def refuse_missing(mode: str) -> None:
    """Raises Refused if the package that shows runs in this mode is not installed."""
    if mode in MIRRORS and find_spec(mode) is None:
        raise Refused(
            f"tracking={mode}: the package {mode} is not installed; pip install -c constraints.txt {mode}, or give "
            f"tracking={OFF}"
        )
