"""A grid while it trains, on a terminal: one table that changes; what is printed meanwhile stands above it."""

import sys
import time
from collections.abc import Iterable
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.engines.engine import Task
from pipeline.runs.progress import Said, said

EVERY_S = 0.5
COLUMNS = ("env steps", "return", "env steps/s", "left")


def table(running: Iterable[Task], summary: str) -> Group:
    """A row for each task that trains, by what its log says, and one line about all."""
    made = Table("cell", *COLUMNS, box=None)
    for task in running:
        at = said(task.log) or Said("", "")
        steps = f"{int(at.env_steps):,} of {int(at.total):,}" if at.env_steps else "begins"
        others = "".join(f",{cell.seed}" for cell in task.cells[1:])
        made.add_row(task.name + others, steps, at.mean_return, at.rate, at.left)
    return Group(made, Text(f"{summary}; logs: runs/<cell>/log.txt", style="dim italic"))


class View:
    """Shows it, if stdout is a terminal, until the block ends."""

    def __init__(self) -> None:
        self._live = Live(console=Console(), auto_refresh=False, transient=True) if sys.stdout.isatty() else None
        self._shown = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._live:
            self._live.update(Text(), refresh=True)  # what a stop draws once more would be the state before the end
            self._live.stop()

    def show(self, running: Iterable[Task], summary: str, news: bool = False) -> None:
        """As it is now; at most twice a second, or at once after `news`, so that nothing stands there that ended."""
        if self._live and (news or time.monotonic() - self._shown >= EVERY_S):
            self._shown = time.monotonic()
            self._live.update(table(running, summary), refresh=True)
