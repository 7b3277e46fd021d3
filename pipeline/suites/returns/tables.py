"""The stage `aggregate` makes reports/tables/returns/ from the evaluations of the grid's cells, nothing else.

Same files in, same bytes out. Knows neither torch nor tom: a change of the science reaches a table through data alone.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.analysis import stats
from pipeline.analysis.coverage import FAILING, bootstrap_coverage
from pipeline.analysis.extent import TOTAL
from pipeline.analysis.results import Grid, read_grid, read_results
from pipeline.analysis.stage import made
from pipeline.analysis.tables import at_one_scale, write_tables
from pipeline.suites.returns.page import markdown

STATISTICS = ("final", "final_window", "best_of_last_three", "cumulative_max", "auc", "auc_cumulative_max")
CURVES = ("plain", "cumulative_max")
AGGREGATE_COLUMNS = ["method", "statistic", "n_envs", "n_seeds", "iqm", "low", "high"]
AGGREGATE_COLUMNS += ["coverage_normal", "coverage_with_collapses"]


def seeds_table(evaluations: pd.DataFrame) -> pd.DataFrame:
    """One row per method, environment and seed with its statistics and the env steps it reached, of how many."""
    rows = []
    for key, run in evaluations.groupby(["method", "env", "seed"], sort=False):
        numbers = stats.seed_statistics(run["env_steps"], run["return_mean"])
        names = dict(zip(("method", "env", "seed"), key, strict=True))
        whole = {TOTAL: run[TOTAL].iloc[-1]} if TOTAL in run else {}
        rows.append({**names, **numbers, "env_steps": run["env_steps"].iloc[-1], **whole})
    return pd.DataFrame(rows)


def returns_table(seeds: pd.DataFrame) -> pd.DataFrame:
    """Per method and environment, each statistic's mean over seeds and its t interval (empty with one seed)."""
    rows = []
    for (method, env), runs in seeds.groupby(["method", "env"], sort=False):
        row = {"method": method, "env": env, "n_seeds": len(runs)}
        for name in STATISTICS:
            row |= _interval(name, stats.mean_interval(runs[name]))
        rows.append(row)
    return pd.DataFrame(rows)


def curves_by_seed_table(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Every seed's curve: method, env, seed, env_steps, plain, cumulative_max; and TOTAL where a run is to go on."""
    table = evaluations[["method", "env", "seed", "env_steps", *([TOTAL] if TOTAL in evaluations else [])]].copy()
    table["plain"] = evaluations["return_mean"]
    runs = evaluations.groupby(["method", "env", "seed"], sort=False)["return_mean"]
    table["cumulative_max"] = runs.transform(stats.cumulative_maximum)
    return table


def curves_table(curves_by_seed: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds and t interval at every evaluation, for the plain and the cumulative-maximum curve."""
    rows = []
    for curve in CURVES:
        for (method, env, env_steps), runs in curves_by_seed.groupby(["method", "env", "env_steps"], sort=False):
            row = {"curve": curve, "method": method, "env": env, "env_steps": env_steps}
            mean, low, high = stats.mean_interval(runs[curve])
            rows.append({**row, "mean": mean, "low": low, "high": high, "n_seeds": len(runs)})
    return pd.DataFrame(rows)


def scales_table(evaluations: pd.DataFrame, seeds: pd.DataFrame) -> pd.DataFrame:
    """Per environment what a normalised score of 0 and 1 means, in units of return.

    floor: mean return of the untrained policies (env step 0, every method and seed). top: the best mean over seeds of
    the cumulative maximum, over methods. One scale serves every statistic, so that a final score below 1 shows what a
    run lost again. No method is the unit: dividing by MBPO's return breaks where that is near zero or negative.
    """
    untrained = evaluations[evaluations["env_steps"] == 0].groupby("env", sort=False)["return_mean"].mean()
    best = seeds.groupby(["env", "method"], sort=False)["cumulative_max"].mean().groupby("env", sort=False).max()
    return pd.DataFrame(
        {"env": untrained.index, "floor": untrained.to_numpy(), "top": best[untrained.index].to_numpy()}
    )


def aggregate_table(seeds: pd.DataFrame, scales: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """Per method and statistic the interquartile mean of normalised scores over environments and seeds.

    With its stratified bootstrap interval (nominal 95 %) and that interval's real coverage in simulations of the same
    size: with normal scores, and where 15 % of the runs collapse. Environments in which no method ever improved on
    untrained policies have no scale and are left out; n_envs counts the rest.
    """
    scale = scales.set_index("env")
    envs = [env for env in grid.envs if scale.loc[env, "top"] > scale.loc[env, "floor"]]
    if not envs:
        return pd.DataFrame(columns=AGGREGATE_COLUMNS)
    size = len(envs), len(grid.seeds)
    coverage = bootstrap_coverage(*size), bootstrap_coverage(*size, failing=FAILING)
    rows = []
    for method in grid.methods:
        for name in STATISTICS:
            runs = seeds[seeds["method"] == method].pivot(index="env", columns="seed", values=name).loc[envs]
            floor, top = scale.loc[envs, "floor"], scale.loc[envs, "top"]
            scores = runs.sub(floor, axis=0).div(top - floor, axis=0).to_numpy()
            iqm, low, high = stats.iqm_interval(scores, np.random.default_rng(stats.SEED))
            rows.append((method, name, *size, iqm, low, high, *coverage))
    return pd.DataFrame(rows, columns=AGGREGATE_COLUMNS)


def tables(evaluations: pd.DataFrame, grid: Grid) -> dict[str, pd.DataFrame]:
    """Every table by its file name without ending; each has the scale as its first column."""
    seeds = seeds_table(evaluations)
    scales = scales_table(evaluations, seeds)
    by_seed = curves_by_seed_table(evaluations)
    tables = {
        "seeds": seeds,
        "returns": returns_table(seeds),
        "scales": scales,
        "aggregate": aggregate_table(seeds, scales, grid),
        "curves": curves_table(by_seed),
        "curves_by_seed": by_seed,
    }
    return at_one_scale(tables, grid.scale)


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/returns and returns its path; ResultsError leaves the old tables as they are."""
    grid = read_grid(root / "params.yaml")
    made = tables(read_results(root / "reports" / "results", grid), grid)
    return write_tables(root / "reports/tables/returns", made, {"returns.md": markdown(made, grid)})


def _interval(name: str, values: tuple[float, float | None, float | None]) -> dict[str, float | None]:
    return dict(zip((f"{name}_mean", f"{name}_low", f"{name}_high"), values, strict=True))


if __name__ == "__main__":
    sys.exit(made("aggregate", make))
