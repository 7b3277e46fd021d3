"""What claims are decided on: our tables, and the digitised figures brought into the same form.

Nothing here knows a claim. A table that is not there is None; one with a gap is refused by name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.analysis import published, stats
from pipeline.analysis.results import ResultsError

RETURNS = ("method", "env", "seed", "env_steps", "cumulative_max")
RUN = ("scale", "method", "env", "seed")
# The tables of the other suites, one row per seed: file below reports/tables, and the columns that claims read.
TABLES = {
    "road": ("road/summary.csv", ("method", "seed", "final_return", "weight_ratio")),
    "weights": ("weights/seeds.csv", (*RUN, "spearman", "replay_over_random")),
    "networked": ("networked/claims.csv", (*RUN, "last_of_central", "last_of_world", "half_of_free")),
    "meta/errors": ("meta/errors.csv", (*RUN, "error_of_pooled")),
    "meta/episodes": ("meta/episodes.csv", (*RUN, "fewer_than_plain", "fewer_than_pooled")),
    "crossings/distilled": ("crossings/distilled.csv", (*RUN, "policy_of_planner")),
    "age": ("age/seeds.csv", (*RUN, "pairs")),
}
NOT_OURS = "published"  # the method of rows that repeat the paper's numbers beside ours


@dataclass(frozen=True)
class Evidence:
    """Curves by seed (columns RETURNS) at one scale, and the other tables by name; None where there is none."""

    scale: str
    curves: pd.DataFrame
    tables: Mapping[str, pd.DataFrame | None]

    def of(self, method: str, env: str) -> pd.DataFrame:
        """The curves of a method on an environment."""
        return self.curves[(self.curves["method"] == method) & (self.curves["env"] == env)]


def read_ours(root: Path) -> Evidence:
    """The tables below `root`/reports/tables; ResultsError names a file or column that is missing or has a gap."""
    tables = root / "reports" / "tables"
    curves = _read(tables / "returns" / "curves_by_seed.csv", ("scale", *RETURNS))
    if curves is None:
        raise ResultsError(f"{tables / 'returns' / 'curves_by_seed.csv'} is missing: tom repro makes it")
    others = {name: _read(tables / file, columns) for name, (file, columns) in TABLES.items()}
    return Evidence(scale=str(curves["scale"].iloc[0]), curves=curves, tables=others)


def read_published(root: Path) -> Evidence:
    """The digitised Figures 2, 3 and 4 as one "seed" each: means, to which no interval belongs."""
    paper = root / "reports" / "paper"
    curves = pd.read_csv(paper / "fig3_curves.csv").rename(columns={"return_mean": "cumulative_max"})
    curves["env"] = curves["env"].str.lower()
    curves["seed"] = 0
    return Evidence("paper", curves, {"road": _road(paper), "weights": _weights(paper)})


def _road(paper: Path) -> pd.DataFrame:
    """Final return per method, and TOM's mean weight on the road over that off it, from the map's 51 x 51 dots."""
    geometry = json.loads((paper / "fig2_geometry.json").read_text(encoding="utf-8"))["left_panel"]
    side = geometry["inferred_if_map_is_minus1_to_1"]
    table = pd.Series(published.road(paper, (side["road_x"][1], side["road_y"][1]))).unstack()
    return table.rename_axis("method").reset_index().fillna({"weight_ratio": 1.0}).assign(seed=0)


def _weights(paper: Path) -> pd.DataFrame:
    """Per environment the rank correlation of weight and chunk over the replay half, and replay / random weight."""
    rows = []
    for env, bars in published.weights(paper).groupby("env", sort=False):
        random, replay = (bars.loc[bars["part"] == part, "weight"] for part in ("random", "replay"))
        measured = {"spearman": stats.spearman(replay), "replay_over_random": replay.mean() / random.mean()}
        rows.append({"method": "tom", "env": env, "seed": 0, **measured})
    return pd.DataFrame(rows)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    table = pd.read_csv(path)
    for column in columns:
        if column not in table:
            raise ResultsError(f"{path} has no column {column}")
    table = table[table["method"] != NOT_OURS].reset_index(drop=True)
    gaps = table[list(columns)].replace([np.inf, -np.inf], np.nan).isna()
    for row, place in np.argwhere(gaps.to_numpy()):
        finite = "finite " if pd.api.types.is_numeric_dtype(table[columns[place]]) else ""
        raise ResultsError(f"{path}: row {row + 1} has no {finite}{columns[place]}")
    return table
