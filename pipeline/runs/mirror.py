"""What shows a run while it trains: never the record, never in the way.

The record is reports/results/. Whatever goes wrong here costs one line on stderr, and the run goes on without a mirror.
"""

import sys
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.runs.folder import Cell
from pipeline.runs.interruptions import Interruptions


class Tracker:
    """Tracks nothing: what `tracking=off` gives."""

    def log(self, numbers: Mapping[str, float], env_steps: int) -> None:
        """Shows `numbers` at `env_steps`, which never decrease. Never raises."""


class Mirror(Tracker):
    """Shows a run until the first error, nothing after it. A kind of mirror says how it begins, shows a row and ends.

    A run that goes on from a checkpoint tells all its rows again, from the first.
    """

    name = ""  # as it is written
    begin_s, row_s, end_s = 60.0, 10.0, 10.0  # after so long without an answer it is left behind

    def __init__(self) -> None:
        self._alive = True

    @abstractmethod
    def begin(self, cell: Cell, folder: Path) -> None:
        """Opens what is to show the cell; files go below `folder`."""

    @abstractmethod
    def row(self, numbers: Mapping[str, float], env_steps: int) -> None:
        """Shows one row."""

    @abstractmethod
    def end(self, failed: bool) -> None:
        """Closes what `begin` opened."""

    def abandon(self) -> None:
        """After an error: ends what could hold up this process later."""

    def start(self, cell: Cell, folder: Path) -> None:
        """`begin`. Never raises."""
        self._guarded(lambda: self.begin(cell, folder), self.begin_s)

    def log(self, numbers: Mapping[str, float], env_steps: int) -> None:
        self._guarded(lambda: self.row(numbers, env_steps), self.row_s)

    def finish(self, failed: bool) -> None:
        """`end`. Never raises."""
        self._guarded(lambda: self.end(failed), self.end_s)

    def _guarded(self, call: Callable[[], object], limit_s: float) -> None:
        error = outcome(call, limit_s, self.name) if self._alive else None
        if error is not None:
            self._alive = False
            reason = " ".join(str(error).split()) or type(error).__name__
            if not Interruptions.noted:  # else its helper had the signal too, and who goes on tells all again
                print(f"tracking stopped, the run goes on: {reason[:200]}", file=sys.stderr)
            self.abandon()


def outcome(call: Callable[[], object], limit_s: float, name: str) -> Exception | None:
    """The error of a call, if any; a call that takes longer is left behind in its thread."""
    errors: list[Exception] = []

    def guarded() -> None:
        try:
            call()
        except Exception as error:  # of many kinds: the library's own and the operating system's
            errors.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        return TimeoutError(f"{name} did not answer within {limit_s:g} s")
    return errors[0] if errors else None
