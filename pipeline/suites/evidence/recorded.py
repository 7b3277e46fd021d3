"""The runs of the evidence that are recorded so far, as tables are made of them: any methods, seeds and lengths.

Knows neither torch nor tom, and asks for no run: what is not recorded yet is not there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.analysis import stats
from pipeline.analysis.extent import TOTAL
from pipeline.analysis.results import RECORD, read_evaluations, read_record, read_table, reading
from pipeline.analysis.runs import RUN, named
from pipeline.analysis.stats import Array

FOLDER = Path("reports/evidence")
NUMBERS = {  # of train.csv: its column, and the name in our tables
    "weights/ess": "share_of_buffer",
    "model/bias_newest": "bias_newest",
    "model/rmse_newest": "rmse_newest",
    "policy/q": "q",
}
MADE = ("git_commit", "scale", "wall_s", "cpu_s")  # of its record: the code, and how long it took
FRESH = {"bias": "bias_fresh", "rmse": "rmse_fresh"}  # the same of probe.csv


@dataclass(frozen=True)
class Recorded:
    """One run: how far it goes of how far, what made it, and its evaluations, rounds and probes of fresh rows."""

    method: str
    env: str
    seed: int
    env_steps: int
    total_env_steps: int
    git_commit: str
    scale: str
    wall_s: float
    cpu_s: float
    evaluations: pd.DataFrame
    rounds: pd.DataFrame
    probes: pd.DataFrame

    def named(self, table: pd.DataFrame) -> pd.DataFrame:
        """One of its tables, with its method, environment and seed as first columns."""
        return named(table, method=self.method, env=self.env, seed=self.seed)

    def best(self, env_step: float) -> float:
        """The cumulative maximum of the return at an env step."""
        rows = self.evaluations
        return float(np.interp(env_step, rows["env_steps"], stats.cumulative_maximum(rows["return_mean"])))

    def numbers(self, table: str, column: str, start: int, end: int) -> Array:
        """What is known of a column of `train` or `probe` from one env step to before, or to, another.

        A round comes before the step that it is recorded at, a probe after it: a run that stops at `end` has no round
        of `end` yet.
        """
        rows = self.rounds[self.rounds["env_steps"] < end] if table == "train" else self.probes
        rows = rows[rows["env_steps"].between(start, end)]
        return rows[column].dropna().to_numpy(np.float64)


def read_recorded(root: Path) -> list[Recorded]:
    """Every run below `root`/reports/evidence by environment, method and seed; ResultsError names a broken file."""
    folders = [path.parent for path in (root / FOLDER).glob(f"*/*/*/{RECORD}")]
    runs = [_read(folder) for folder in folders if folder.name.isdecimal()]
    return sorted(runs, key=lambda run: (run.env, run.method, run.seed))


def _read(folder: Path) -> Recorded:
    found = read_record(folder, names := (*RUN, "env_steps", TOTAL, *MADE))
    return Recorded(
        **{name: found[name] for name in names},
        evaluations=read_evaluations(folder / "evals.csv"),
        rounds=_table(folder / "train.csv", [*NUMBERS]),
        probes=_table(folder / "probe.csv", [*FRESH]),
    )


def _table(path: Path, columns: list[str]) -> pd.DataFrame:
    """The env steps and these columns; no row where there is no such file, empty where there is no such column."""
    columns = ["env_steps", *columns]
    if not path.is_file():
        return pd.DataFrame(columns=columns, dtype=np.float64)
    table = read_table(path, kind := "a table of numbers")
    with reading(path, kind):
        return table.reindex(columns=columns).astype(np.float64)


def runs_of(runs: Sequence[Recorded], method: str, env: str) -> list[Recorded]:
    """The runs of a method on an environment, by seed."""
    return [run for run in runs if (run.method, run.env) == (method, env)]


def paired(runs: Sequence[Recorded], methods: Sequence[str], *envs: str) -> list[tuple[Recorded, ...]]:
    """The runs of each seed that every one of the methods has on all the environments, there in the methods' order."""
    by_seed = [{run.seed: run for run in runs_of(runs, method, env)} for env in envs for method in methods]
    shared = set.intersection(*(set(found) for found in by_seed)) if by_seed else set()
    return [tuple(found[seed] for found in by_seed) for seed in sorted(shared)]


def common_step(groups: Sequence[tuple[Recorded, ...]]) -> int:
    """The last env step that all of these runs have come to."""
    return min(run.env_steps for group in groups for run in group)
