"""The files of a run, row by row: the same numbers give the same bytes, and a killed run keeps the rows it had."""

import csv
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

EVALS = ("env_steps", "return_mean", "return_std", "return_min", "return_max", "length_mean")
TIMING = ("env_steps", "wall_s", "env_steps_per_s")


class Writer:
    """Writes evals.csv, train.csv, timing.csv and policy.npz into a folder; what a clock says is in timing.csv only."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.perf_counter) -> None:
        self._folder, self._clock = folder, clock
        self._evals = _Table(folder / "evals.csv", EVALS)
        self._timing = _Table(folder / "timing.csv", TIMING)
        self._train: _Table | None = None
        self._start = clock()
        self._last = (0, 0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._train is None:  # a run without a round still has the table
            self._train = _Table(self._folder / "train.csv", ("env_steps",))
        for table in (self._evals, self._timing, self._train):
            table.close()

    def evaluation(self, env_steps: int, returns: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
        """Adds a row over the episodes of one evaluation; ArithmeticError if a return is not finite."""
        returns = np.asarray(returns, dtype=np.float64)
        if not np.isfinite(returns).all():
            raise ArithmeticError(f"a return is not finite at env step {env_steps}")
        spread = (returns.mean(), returns.std(ddof=0), returns.min(), returns.max())
        row = dict(zip(EVALS[1:], map(float, (*spread, np.mean(lengths, dtype=np.float64))), strict=True))
        self._evals.add([env_steps, *row.values()])
        self._time(env_steps)
        return row

    def round(self, env_steps: int, numbers: Mapping[str, float]) -> None:
        """Adds a row of training numbers; NaN is an empty cell. The first round decides the columns."""
        if self._train is None:
            self._train = _Table(self._folder / "train.csv", ("env_steps", *numbers))
        self._train.add([env_steps, *(numbers[name] for name in self._train.columns[1:])])

    def policy(self, parameters: Mapping[str, np.ndarray]) -> None:
        """Writes the policy's parameters by name."""
        np.savez(self._folder / "policy.npz", allow_pickle=False, **parameters)

    def _time(self, env_steps: int) -> None:
        wall = self._clock() - self._start
        steps, seconds = env_steps - self._last[0], wall - self._last[1]
        self._timing.add([env_steps, round(wall, 3), round(steps / seconds, 1) if seconds > 0 else 0.0])
        self._last = (env_steps, wall)


class _Table:
    """A CSV file that is on disk up to its last row."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self._file: IO[str] = path.open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self.add(self.columns)

    def add(self, row: Sequence[Any]) -> None:
        self._rows.writerow([_text(value) for value in row])
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _text(value: Any) -> str:
    """The shortest text that reads back as the same number."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer):
        return str(int(value))
    return "" if math.isnan(value) else repr(float(value))
