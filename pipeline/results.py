"""The evaluations of every cell of the grid, read from reports/results/ and refused if they are not whole."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

COLUMNS = ["env_steps", "return_mean", "return_std", "return_min", "return_max", "length_mean"]


class ResultsError(ValueError):
    """A table that cannot be made: one sentence with the file or key at fault."""


@dataclass(frozen=True)
class Grid:
    """What params.yaml asks for: each axis without duplicates, in its order there."""

    scale: str
    methods: list[str]
    envs: list[str]
    seeds: list[int]


def read_grid(params: Path) -> Grid:
    """The scale and the grid of params.yaml; ResultsError if a key is missing, empty or lists something twice."""
    try:
        config: Any = OmegaConf.load(params)
        scale, grid = config["scale"], config["grid"]
        axes = {axis: list(grid[axis]) for axis in ("methods", "envs", "seeds")}
    except (OSError, KeyError, TypeError, YAMLError, OmegaConfBaseException) as error:
        raise ResultsError(f"{params}: cannot read scale and grid ({str(error).splitlines()[0]})") from error
    for axis, values in axes.items():
        if not values:
            raise ResultsError(f"{params}: grid.{axis} is empty")
        if len(set(values)) != len(values):
            raise ResultsError(f"{params}: grid.{axis} lists something twice: {values}")
    return Grid(scale=scale, **axes)


def read_results(results: Path, grid: Grid) -> pd.DataFrame:
    """One row per evaluation of each cell: method, env, seed and the columns of evals.csv, in the grid's order.

    Raises ResultsError if a file is missing, broken or not on the same env steps as the other cells of its environment.
    """
    cells = list(_read_cells(results, grid))
    _check_same_steps(cells)
    return pd.concat([rows for _, rows in cells], ignore_index=True)


def _read_cells(results: Path, grid: Grid) -> Iterator[tuple[Path, pd.DataFrame]]:
    for env, method, seed in product(grid.envs, grid.methods, grid.seeds):
        path = results / grid.scale / method / env / str(seed) / "evals.csv"
        rows = read_evaluations(path)
        rows.insert(0, "seed", seed)
        rows.insert(0, "env", env)
        rows.insert(0, "method", method)
        yield path, rows


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
