"""The files of a run, row by row: the same numbers give the same bytes, and a killed run keeps the rows it had."""

import csv
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

PROBE = "probe.csv"  # of runs whose model is tried on fresh rows
PLANNED = "planned.csv"  # of runs whose policy has a planner: the last evaluation's episodes as it plays them
TABLES = ("evals.csv", "train.csv", "timing.csv", PROBE, PLANNED)
EVALS = ("env_steps", "return_mean", "return_std", "return_min", "return_max", "length_mean")
# Before the names of an evaluation's, a probe's and a planner's numbers where they are tracked.
EVAL, FRESH, BY_PLAN = "eval/", "probe/", "planned/"
TRACKED = (("evals.csv", EVAL), (PLANNED, BY_PLAN), (PROBE, FRESH), ("train.csv", ""))  # in the loop's order
TIMING = ("env_steps", "wall_s", "env_steps_per_s")


class Writer:
    """Writes a run's tables and policy.npz into a folder; what a clock says is in timing.csv only."""

    def __init__(self, folder: Path, wall_s: float = 0.0, clock: Callable[[], float] = time.perf_counter) -> None:
        """Goes on with the tables that are there; `wall_s` seconds have gone into them."""
        self._folder, self._clock = folder, clock
        self._evals = _Table(folder / "evals.csv", EVALS)
        self._timing = _Table(folder / "timing.csv", TIMING)
        self._train, self._probe, self._planned = (
            _Table(folder / name) if (folder / name).exists() else None for name in ("train.csv", PROBE, PLANNED)
        )
        self._start = clock() - wall_s
        self.last_return = (self._evals.last(int, float) or (0, math.nan))[1]
        self._last = self._timing.last(int, float) or (0, 0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._train is None:  # a run without a round still has the table
            self._train = _Table(self._folder / "train.csv", ("env_steps",))
        for table in filter(None, (self._evals, self._timing, self._train, self._probe, self._planned)):
            table.close()

    def evaluation(self, env_steps: int, returns: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
        """Adds a row over the episodes of one evaluation; ArithmeticError if a return is not finite."""
        row = _over_episodes(env_steps, returns, lengths)
        self._evals.add([env_steps, *row.values()])
        self.last_return = row["return_mean"]
        self._time(env_steps)
        return row

    def round(self, env_steps: int, numbers: Mapping[str, float]) -> None:
        """Adds a row of training numbers; NaN is an empty cell. The first round decides the columns."""
        self._train = self._train or _Table(self._folder / "train.csv", ("env_steps", *numbers))
        self._train.add_numbers(env_steps, numbers)

    def probe(self, env_steps: int, numbers: Mapping[str, float]) -> None:
        """Adds a row of what the model is on fresh rows; a run without one has no such table."""
        self._probe = self._probe or _Table(self._folder / PROBE, ("env_steps", *numbers))
        self._probe.add_numbers(env_steps, numbers)

    def planned(self, env_steps: int, returns: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
        """Adds the row of an evaluation that a planner played; a run without one has no such table."""
        row = _over_episodes(env_steps, returns, lengths)
        self._planned = self._planned or _Table(self._folder / PLANNED, EVALS)
        self._planned.add([env_steps, *row.values()])
        return row

    def policy(self, parameters: Mapping[str, np.ndarray]) -> None:
        """Writes the policy's parameters by name."""
        np.savez(self._folder / "policy.npz", allow_pickle=False, **parameters)

    def _time(self, env_steps: int) -> None:
        wall = self._clock() - self._start
        steps, seconds = env_steps - self._last[0], wall - self._last[1]
        self._timing.add([env_steps, round(wall, 3), round(steps / seconds, 1) if seconds > 0 else 0.0])
        self._last = (env_steps, wall)


def rows_so_far(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """What was tracked of a run, in order: environment step and numbers; at one step, as the loop gives them."""
    rows = []
    for order, (name, prefix) in enumerate(TRACKED):
        if (folder / name).exists():
            with (folder / name).open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    env_steps = int(row.pop("env_steps"))
                    numbers = {prefix + key: float(text) if text else math.nan for key, text in row.items()}
                    rows.append((env_steps, order, numbers))
    return [(env_steps, numbers) for env_steps, _, numbers in sorted(rows, key=lambda row: row[:2])]


def _over_episodes(env_steps: int, returns: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
    returns = np.asarray(returns, dtype=np.float64)
    if not np.isfinite(returns).all():
        raise ArithmeticError(f"a return is not finite at env step {env_steps}")
    spread = (returns.mean(), returns.std(ddof=0), returns.min(), returns.max())
    return dict(zip(EVALS[1:], map(float, (*spread, np.mean(lengths, dtype=np.float64))), strict=True))


class _Table:
    """A CSV file that holds every row it was given; one that is there already is gone on with."""

    def __init__(self, path: Path, columns: Sequence[str] = ()) -> None:
        self._file: IO[str] = path.open("a+", newline="", encoding="utf-8")
        self._file.seek(0)
        self._found = list(csv.reader(self._file))
        self.columns = tuple(self._found[0]) if self._found else tuple(columns)
        self._rows = csv.writer(self._file, lineterminator="\n")
        if not self._found:
            self.add(self.columns)

    def last(self, *kinds: Callable[[str], Any]) -> tuple[Any, ...] | None:
        """The first values of the last row that was found, each as its kind; None if there was no row."""
        if len(self._found) < 2:
            return None
        return tuple(kind(text) for kind, text in zip(kinds, self._found[-1], strict=False))

    def add(self, row: Sequence[Any]) -> None:
        self._rows.writerow([_text(value) for value in row])
        self._file.flush()

    def add_numbers(self, env_steps: int, numbers: Mapping[str, float]) -> None:
        """A row of the numbers that the table has columns for."""
        self.add([env_steps, *(numbers[name] for name in self.columns[1:])])

    def close(self) -> None:
        self._file.close()


def _text(value: Any) -> str:
    """The shortest text that reads back as the same number."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer):
        return str(int(value))
    return "" if math.isnan(value) else repr(float(value))
