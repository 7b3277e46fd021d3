"""The stage `aggregate` makes reports/tables/returns/ from the evaluations of the grid's cells."""

from itertools import product
from pathlib import Path

import pandas as pd

from pipeline.analysis import stats
from pipeline.analysis.coverage import FAILING, bootstrap_coverage
from pipeline.analysis.extent import TOTAL
from pipeline.analysis.results import read_grid, read_results
from pipeline.analysis.runs import RUN, STATISTICS, intervals, normalised, seeds_table
from pipeline.analysis.stage import made
from pipeline.analysis.tables import at_one_scale, write_tables
from pipeline.suites.returns.page import markdown

CURVES = ("plain", "cumulative_max")
AGGREGATE_COLUMNS = ["method", "statistic", "n_envs", "n_seeds", "iqm", "low", "high"]
AGGREGATE_COLUMNS += ["coverage_normal", "coverage_with_collapses"]


def returns_table(seeds: pd.DataFrame) -> pd.DataFrame:
    """Per method and environment, each statistic's mean over seeds and its t interval (empty with one seed)."""
    keys = ["method", "env"]
    parts = [intervals(seeds, keys, name).set_index([*keys, "n_seeds"]).add_prefix(f"{name}_") for name in STATISTICS]
    return pd.concat(parts, axis=1).reset_index()


def curves_by_seed_table(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Every seed's curve: method, env, seed, env_steps, plain, cumulative_max; and TOTAL where a run is to go on."""
    table = evaluations[[*RUN, "env_steps", *([TOTAL] if TOTAL in evaluations else [])]].copy()
    table["plain"] = evaluations["return_mean"]
    table["cumulative_max"] = evaluations.groupby(RUN, sort=False)["return_mean"].cummax()
    return table


def curves_table(curves_by_seed: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds and t interval at every evaluation, for the plain and the cumulative-maximum curve."""
    long = curves_by_seed.melt(["method", "env", "env_steps"], CURVES, var_name="curve")
    return intervals(long, ["curve", "method", "env", "env_steps"], "value")


def scales_table(evaluations: pd.DataFrame, seeds: pd.DataFrame) -> pd.DataFrame:
    """Per environment what a normalised score of 0 and 1 means, in units of return.

    floor: mean return of the untrained policies (env step 0, every method and seed). top: the best mean over seeds of
    the cumulative maximum, over methods. One scale serves every statistic, so that a final score below 1 shows what a
    run lost again. No method is the unit: dividing by MBPO's return breaks where that is near zero or negative.
    """
    untrained = evaluations[evaluations["env_steps"] == 0].groupby("env", sort=False)["return_mean"].mean()
    best = seeds.groupby(["env", "method"], sort=False)["cumulative_max"].mean().groupby("env", sort=False).max()
    return pd.DataFrame({"floor": untrained, "top": best}).loc[untrained.index].reset_index()


def aggregate_table(seeds: pd.DataFrame, scales: pd.DataFrame) -> pd.DataFrame:
    """Per method and statistic the interquartile mean of normalised scores over environments and seeds.

    With its stratified bootstrap interval (nominal 95 %) and that interval's real coverage in simulations of the same
    size: with normal scores, and where 15 % of the runs collapse. Environments in which no method ever improved on
    untrained policies have no scale and are left out; n_envs counts the rest.
    """
    scores = {name: normalised(seeds, scales, name) for name in STATISTICS}
    rows = []
    for method, name in product(scores["final"], STATISTICS):
        runs = scores[name][method]
        interval = stats.iqm_interval(runs)
        studies = (0.0, FAILING) if interval[1] is not None else ()
        coverage = [bootstrap_coverage(*runs.shape, failing=failing) for failing in studies] or [None, None]
        rows.append((method, name, *runs.shape, *interval, *coverage))
    return pd.DataFrame(rows, columns=AGGREGATE_COLUMNS)


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/returns and returns its path; ResultsError leaves the old tables as they are.

    Each table has the scale as its first column.
    """
    grid = read_grid(root / "params.yaml")
    evaluations = read_results(root / "reports" / "results", grid)
    seeds, by_seed = seeds_table(evaluations), curves_by_seed_table(evaluations)
    scales = scales_table(evaluations, seeds)
    tables = {
        "seeds": seeds,
        "returns": returns_table(seeds),
        "scales": scales,
        "aggregate": aggregate_table(seeds, scales),
        "curves": curves_table(by_seed),
        "curves_by_seed": by_seed,
    }
    made = at_one_scale(tables, grid.scale)
    return write_tables(root / "reports/tables/returns", made, {"returns.md": markdown(made, grid)})


if __name__ == "__main__":
    made("aggregate", make)
