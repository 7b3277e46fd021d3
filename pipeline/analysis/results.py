"""What is recorded, above all the evaluations of every cell of the grid: read, and refused if it is not whole."""

import difflib
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from pipeline.analysis.extent import TOTAL, so_far
from pipeline.analysis.runs import RUN, named
from pipeline.files import RESTORE, read_yaml

TRAIN_FIRST = "train this cell first, or take it out of grid in params.yaml"
IN_UTF_8 = partial(Path.read_text, encoding="utf-8")
RECORD = "provenance.json"  # beside a run's evaluations
ROUNDING = 1e-9  # of a mean in double precision, relative; far below what anybody would change
COLUMNS = ["env_steps", "return_mean", "return_std", "return_min", "return_max", "length_mean"]


class ResultsError(ValueError):
    """A table that cannot be made: one sentence with the file or key at fault."""


@dataclass(frozen=True)
class Grid:
    """What params.yaml asks for: each axis without duplicates, in its order there, and where runs stop for now."""

    scale: str
    methods: list[str]
    envs: list[str]
    seeds: list[int]
    until: dict[str, int] = field(default_factory=dict)  # by environment


@contextmanager
def reading(path: Path, kind: str, missing: str = "") -> Iterator[None]:
    """Turns what goes wrong in the block, which reads a file, into a ResultsError: it is missing, or not of its kind.

    `missing` is what is to be done about the first.
    """
    try:
        yield
    except ResultsError:  # which says what it is
        raise
    except FileNotFoundError:
        raise ResultsError(": ".join(filter(None, (f"{path} is missing", missing)))) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, YAMLError, OmegaConfBaseException) as error:
        said, *_ = str(error).split("\n")
        raise ResultsError(f"{path}: not {kind} ({said})") from error


def read_grid(params: Path, suite: str = "") -> Grid:
    """The scale and the grid of params.yaml, or those of a suite; ResultsError if they are none.

    Each list has to be there, and has at least one entry and none twice.
    """
    with reading(params, f"a file with the scale and the grid of {suite or 'the returns'}"):
        config = read_yaml(params.read_text(encoding="utf-8"))
        scale, grid = (config[suite]["scale"], config[suite]) if suite else (config["scale"], config["grid"])
        axes = {axis: list(grid[axis]) for axis in ("methods", "envs", "seeds")}
        until = grid.get("until")
        stops = dict.fromkeys(axes["envs"], until) if isinstance(until, int) else dict(until or {})
    for axis, values in axes.items():
        if not values:
            raise ResultsError(f"{params}: {suite or 'grid'}.{axis} is empty")
        if len(set(values)) != len(values):
            raise ResultsError(f"{params}: {suite or 'grid'}.{axis} lists something twice: {values}")
    return Grid(scale, axes["methods"], axes["envs"], axes["seeds"], stops)


def read_record(folder: Path, names: Iterable[str], missing: str = "") -> dict[str, Any]:
    """What was recorded with a run; ResultsError if it lacks one of these entries, or is not there."""
    with reading(folder / RECORD, "the record of a run", missing):
        found: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return found | {name: found[name] for name in names}


def recorded_text(path: Path, text_of: Callable[[Path], str] = IN_UTF_8) -> str:
    """The text of a file that was recorded; ResultsError if it is another than the record beside it has a digest of.

    Whatever a table is made of is read like this. A folder without a record, or a record without digests, says nothing.
    """
    text, record = text_of(path), path.with_name(RECORD)
    with reading(record, "the record of a run"):
        try:
            digests = json.loads(text_of(record)).get("sha256")
        except FileNotFoundError:
            return text
        same = not digests or digests.get(path.name) == hashlib.sha256(text.encode()).hexdigest()
    if not same:
        raise ResultsError(f"{path} is not the file that was recorded: {RESTORE}")
    return text


def read_table(path: Path, kind: str, missing: str = "", **how: Any) -> pd.DataFrame:
    """The table in a file that was recorded; ResultsError if it was changed since, is missing, or not of its kind."""
    with reading(path, kind, missing):
        return pd.read_csv(io.StringIO(recorded_text(path)), **how)


def read_results(results: Path, grid: Grid) -> pd.DataFrame:
    """One row per evaluation of each cell: method, env, seed and the columns of evals.csv, in the grid's order.

    As far as the grid's runs go; where one is to go on, all have the column TOTAL, the env steps of the whole run.
    Raises ResultsError if a file is missing, broken, not as far as the grid is to go, or not on the same env steps as
    the other cells of its environment.
    """
    cells = list(_read_cells(results, grid))
    _check_same_steps(cells)
    table = pd.concat([rows for _, rows in cells], ignore_index=True)
    last = table.groupby(RUN)["env_steps"].transform("max")
    return table if (last < table[TOTAL]).any() else table.drop(columns=TOTAL)


def _read_cells(results: Path, grid: Grid) -> Iterator[tuple[Path, pd.DataFrame]]:
    for env, method, seed in product(grid.envs, grid.methods, grid.seeds):
        path = results / grid.scale / method / env / str(seed) / "evals.csv"
        rows = cut(read_evaluations(path), path, grid.until.get(env))
        yield path, named(rows, method=method, env=env, seed=seed)


def cut(rows: pd.DataFrame, path: Path, until: int | None) -> pd.DataFrame:
    """The rows of an evals.csv up to `until`, or of a whole run where that is None; ResultsError if it ends before."""
    reached, total = (int(rows[name].iloc[-1]) for name in ("env_steps", TOTAL))
    if reached < min(until or total, total):
        wanted = f"grid.until is {until:,}" if until else "there is no grid.until"
        raise ResultsError(
            f"{path} goes as far as {so_far(reached, total)} env steps, and {wanted}: "
            f"go on with `make repro`, or write `until: {reached}` below `grid:` in params.yaml"
        )
    return rows[rows["env_steps"] <= until] if until else rows


def read_evaluations(path: Path, text_of: Callable[[Path], str] = IN_UTF_8) -> pd.DataFrame:
    """The rows of one evals.csv with the column TOTAL; ResultsError names the file and what is wrong with it.

    TOTAL is the env steps of the whole run by the record beside it; one that does not say is of a whole run.
    """
    # Converted from text: exactly, whatever pandas' own parser rounds.
    with reading(path, "a table of evaluations", TRAIN_FIRST):
        text = recorded_text(path, text_of)
        rows = pd.read_csv(io.StringIO(text), dtype=str)[COLUMNS].astype(dict.fromkeys(COLUMNS, np.float64))
    if rows.empty:
        raise ResultsError(f"{path} has no evaluation")
    for row, column in np.argwhere(~np.isfinite(rows.to_numpy())):
        raise ResultsError(f"{path}: row {row + 1} has no finite {COLUMNS[column]}")
    _check_means(path, rows)
    steps = rows["env_steps"].to_numpy()
    for step in steps[rows["env_steps"].duplicated()]:
        raise ResultsError(f"{path}: env_steps {step:.0f} appears twice")
    if (np.diff(steps) < 0).any() or steps[0] != 0:
        raise ResultsError(f"{path}: env_steps must start at 0 and rise, not {steps[:4].tolist()}")
    return rows.astype({"env_steps": np.int64}).assign(**{TOTAL: _total(path.with_name(RECORD), steps[-1], text_of)})


def _check_means(path: Path, rows: pd.DataFrame) -> None:
    """A mean lies between the least and the largest of what it is of, but for the rounding of their sum."""
    mean, low, high = (rows[f"return_{name}"].to_numpy() for name in ("mean", "min", "max"))
    slack = ROUNDING * np.maximum(np.abs(low), np.abs(high))
    for row in np.flatnonzero((mean < low - slack) | (mean > high + slack)):
        ends = f"return_min and return_max, {low[row]:g} and {high[row]:g}"
        raise ResultsError(f"{path}: row {row + 1} has return_mean {mean[row]:g}, which is not between {ends}")


def _total(path: Path, reached: float, text_of: Callable[[Path], str]) -> int:
    with reading(path, "the record of a run"):
        try:
            text = text_of(path)
        except FileNotFoundError:
            return int(reached)
        return int(json.loads(text).get(TOTAL, reached))


def _check_same_steps(cells: list[tuple[Path, pd.DataFrame]]) -> None:
    """Curves are averaged step by step, so the cells of an environment must have been evaluated at the same steps."""
    first: dict[str, tuple[Path, set[int]]] = {}
    for path, rows in cells:
        steps = set(rows["env_steps"])
        other, expected = first.setdefault(rows["env"].iloc[0], (path, steps))
        if steps != expected:
            step = min(steps ^ expected)
            has, lacks = (path, other) if step in steps else (other, path)
            raise ResultsError(f"{lacks} has no evaluation at env_steps {step}, but {has} has: they are not one run")


def nearest(word: str, choices: Iterable[str]) -> str:
    """The end of a refusal: the choice most like the word."""
    alike = difflib.get_close_matches(str(word), list(choices), n=1, cutoff=0.0)
    return f"nearest valid choice: {alike[0]}"
