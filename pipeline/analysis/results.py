"""The evaluations of every cell of the grid, read from reports/results/ and refused if they are not whole."""

import difflib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.analysis.extent import TOTAL, so_far
from pipeline.files import read_yaml

RECORD = "provenance.json"  # beside a run's evaluations
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


def read_grid(params: Path) -> Grid:
    """The scale and the grid of params.yaml; ResultsError if a key is missing, empty or lists something twice."""
    try:
        config = read_yaml(params.read_text(encoding="utf-8"))
        scale, grid = config["scale"], config["grid"]
        axes = {axis: list(grid[axis]) for axis in ("methods", "envs", "seeds")}
        until = grid.get("until")
        stops = dict.fromkeys(axes["envs"], until) if isinstance(until, int) else dict(until or {})
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{params}: cannot read scale and grid ({str(error).splitlines()[0]})") from error
    for axis, values in axes.items():
        if not values:
            raise ResultsError(f"{params}: grid.{axis} is empty")
        if len(set(values)) != len(values):
            raise ResultsError(f"{params}: grid.{axis} lists something twice: {values}")
    return Grid(scale, axes["methods"], axes["envs"], axes["seeds"], stops)


def read_results(results: Path, grid: Grid) -> pd.DataFrame:
    """One row per evaluation of each cell: method, env, seed and the columns of evals.csv, in the grid's order.

    As far as the grid's runs go; where one is to go on, all have the column TOTAL, the env steps of the whole run.
    Raises ResultsError if a file is missing, broken, not as far as the grid is to go, or not on the same env steps as
    the other cells of its environment.
    """
    cells = list(_read_cells(results, grid))
    _check_same_steps(cells)
    table = pd.concat([rows for _, rows in cells], ignore_index=True)
    last = table.groupby(["method", "env", "seed"])["env_steps"].transform("max")
    return table if (last < table[TOTAL]).any() else table.drop(columns=TOTAL)


def _read_cells(results: Path, grid: Grid) -> Iterator[tuple[Path, pd.DataFrame]]:
    for env, method, seed in product(grid.envs, grid.methods, grid.seeds):
        path = results / grid.scale / method / env / str(seed) / "evals.csv"
        rows = cut(read_evaluations(path), path, grid.until.get(env))
        rows.insert(0, "seed", seed)
        rows.insert(0, "env", env)
        rows.insert(0, "method", method)
        yield path, rows


def cut(rows: pd.DataFrame, path: Path, until: int | None) -> pd.DataFrame:
    """The rows of an evals.csv up to `until`, or of a whole run where that is None, with the column TOTAL.

    ResultsError if it does not go as far.
    """
    reached = int(rows["env_steps"].iloc[-1])
    total = total_env_steps(path.parent, reached)
    if reached < min(until or total, total):
        wanted = f"grid.until is {until:,}" if until else "there is no grid.until"
        raise ResultsError(
            f"{path} goes as far as {so_far(reached, total)} env steps, and {wanted}: "
            f"go on with `make repro`, or write `until: {reached}` below `grid:` in params.yaml"
        )
    rows[TOTAL] = total
    return rows[rows["env_steps"] <= until] if until else rows


def total_env_steps(folder: Path, reached: int) -> int:
    """The env steps of the whole run, of which `reached` are recorded; a record that does not say is whole."""
    path = folder / RECORD
    return total_in(str(path), path.read_text(encoding="utf-8") if path.is_file() else "", reached)


def total_in(path: str, text: str, reached: int) -> int:
    """The same of the text of the record at a path; ResultsError if that is none."""
    try:
        return int(json.loads(text).get(TOTAL, reached)) if text else reached
    except (ValueError, AttributeError, TypeError) as error:
        raise ResultsError(f"{path}: not the record of a run ({error})") from None


def read_evaluations(path: Path, text: str | None = None) -> pd.DataFrame:
    """The rows of one evals.csv, or of its `text`; ResultsError names the file and what is wrong with it."""
    if text is None and not path.is_file():
        raise ResultsError(f"{path} is missing: train this cell first, or take it out of grid in params.yaml")
    try:
        rows = pd.read_csv(
            path if text is None else io.StringIO(text), dtype=str
        )  # converted below: exactly, whatever pandas' own parser rounds
        rows = rows[COLUMNS].astype(dict.fromkeys(COLUMNS, np.float64))
    except (ValueError, KeyError) as error:  # pandas' parser errors are ValueErrors
        raise ResultsError(f"{path}: not a table of evaluations ({str(error).splitlines()[0]})") from error
    if rows.empty:
        raise ResultsError(f"{path} has no evaluation")
    bad = ~np.isfinite(rows.to_numpy())
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ResultsError(f"{path}: row {row + 1} has no finite {COLUMNS[column]}")
    steps = rows["env_steps"].to_numpy()
    if len(set(steps)) != len(steps):
        twice = steps[rows["env_steps"].duplicated()][0]
        raise ResultsError(f"{path}: env_steps {twice:.0f} appears twice")
    if (np.diff(steps) < 0).any() or steps[0] != 0:
        raise ResultsError(f"{path}: env_steps must start at 0 and rise, not {steps[:4].tolist()}")
    return rows.astype({"env_steps": np.int64})


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
