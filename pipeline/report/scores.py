"""`python -m pipeline.report.scores` writes reports/tables/report/: the data of the report's figures.

Scores are normalised per environment from untrained policies (0) to the best method (1), as in tables/returns.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.analysis import stats
from pipeline.analysis.stage import made
from pipeline.analysis.stats import Array
from pipeline.analysis.tables import write_tables
from pipeline.report.records import model_error_table, runs_table, settings_table

REFERENCE = "mbpo"  # whose return is 1 in the paper's normalised average
STATISTICS = ("cumulative_max", "final")  # the published metric, and the one that hides no collapse
THRESHOLDS = np.linspace(0.0, 1.5, 61)
PUBLISHED_SEEDS = 4  # Ma et al. (2023), section 5.2


def pivot(seeds: pd.DataFrame, method: str, statistic: str, envs: list[str]) -> Array:
    """A method's statistic as an array [environments, seeds]."""
    rows = seeds[seeds["method"] == method]
    return np.asarray(rows.pivot(index="env", columns="seed", values=statistic).loc[envs].to_numpy(), dtype=np.float64)


def normalised(seeds: pd.DataFrame, scales: pd.DataFrame, statistic: str) -> dict[str, Array]:
    """Each method's scores [environments, seeds], of the environments in which some method improved."""
    useful = scales[scales["top"] > scales["floor"]].set_index("env")
    floor, top = useful["floor"].to_numpy()[:, None], useful["top"].to_numpy()[:, None]
    return {
        str(method): (pivot(seeds, str(method), statistic, list(useful.index)) - floor) / (top - floor)
        for method in seeds["method"].unique()
        if len(useful)
    }


def averages_table(seeds: pd.DataFrame, final: pd.DataFrame) -> pd.DataFrame:
    """Mean over environments of the final cumulative maximum over MBPO's: ours, published, both on our environments.

    Ours with its bootstrap interval; it needs MBPO, and MBPO's return to be positive in every environment.
    """
    rows: list[tuple[object, ...]] = []
    envs = list(seeds["env"].unique())
    methods = [str(method) for method in seeds["method"].unique()]
    if REFERENCE in methods and (reference := pivot(seeds, REFERENCE, "cumulative_max", envs)).mean(1).min() > 0:
        for method in methods:
            samples = [pivot(seeds, method, "cumulative_max", envs), reference]
            if method == REFERENCE:
                rows.append(("ours", method, 1.0, None, None, len(envs), reference.shape[1]))
                continue
            interval = stats.bootstrap_interval(stats.mean_ratio, samples, np.random.default_rng(stats.SEED))
            rows.append(("ours", method, *stats.floats(interval), len(envs), reference.shape[1]))
    final = final[final["env"] != "NormalizedAverage"].assign(env=lambda table: table["env"].str.lower())
    returns = final.pivot(index="env", columns="method", values="final_return")
    ratios = returns.div(returns[REFERENCE], axis=0)
    for source, chosen in (("published", list(ratios.index)), ("published, our environments", envs)):
        if set(chosen) <= set(ratios.index):
            for method in ratios:
                rows.append(
                    (source, str(method), ratios.loc[chosen, method].mean(), None, None, len(chosen), PUBLISHED_SEEDS)
                )
    return pd.DataFrame(rows, columns=["source", "method", "value", "low", "high", "n_envs", "n_seeds"])


def profiles_table(scores: dict[str, dict[str, Array]]) -> pd.DataFrame:
    """Share of each method's runs above every threshold, with its bootstrap interval: statistic, method, threshold."""
    rows = []
    for statistic, by_method in scores.items():
        for method, values in by_method.items():
            share, low, high = stats.bootstrap_interval(
                lambda sample: stats.performance_profile(sample, THRESHOLDS),
                [values],
                np.random.default_rng(stats.SEED),
                resamples=2_000,
            )
            for place, threshold in enumerate(THRESHOLDS):
                ends = [None if end is None else float(end[place]) for end in (low, high)]
                rows.append((statistic, method, float(threshold), float(share[place]), *ends))
    return pd.DataFrame(rows, columns=["statistic", "method", "threshold", "share", "low", "high"])


def improvement_table(scores: dict[str, dict[str, Array]]) -> pd.DataFrame:
    """Chance that a run of `method` beats one of `other` on the same environment, with its bootstrap interval."""
    rows = []
    for statistic, by_method in scores.items():
        for method, mine in by_method.items():
            for other, theirs in by_method.items():
                if method != other:
                    interval = stats.bootstrap_interval(
                        stats.probability_of_improvement,
                        [mine, theirs],
                        np.random.default_rng(stats.SEED),
                        resamples=4_000,
                    )
                    rows.append((statistic, method, other, *stats.floats(interval)))
    return pd.DataFrame(rows, columns=["statistic", "method", "other", "probability", "low", "high"])


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/report and returns its path; ResultsError leaves the old tables as they are."""
    reports = root / "reports"
    seeds, scales = (pd.read_csv(reports / "tables" / "returns" / f"{name}.csv") for name in ("seeds", "scales"))
    scores = {statistic: normalised(seeds, scales, statistic) for statistic in STATISTICS}
    made = {
        "averages": averages_table(seeds, pd.read_csv(reports / "paper" / "fig3_final.csv")),
        "profiles": profiles_table(scores),
        "improvement": improvement_table(scores),
        "model_error": model_error_table(reports / "results", seeds),
        "runs": runs_table(reports / "results", seeds),
        "settings": settings_table(reports / "results", seeds, pd.read_csv(reports / "paper" / "hyperparameters.csv")),
    }
    return write_tables(reports / "tables/report", made)


if __name__ == "__main__":
    sys.exit(made("report_tables", make))
