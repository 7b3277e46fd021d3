"""`python -m pipeline.report.scores` writes reports/tables/report/: the data of the report's figures.

Scores are normalised per environment from untrained policies (0) to the best method (1), as in tables/returns.
"""

from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.analysis import stats
from pipeline.analysis.coverage import covers
from pipeline.analysis.runs import matrix, normalised
from pipeline.analysis.stage import made
from pipeline.analysis.stats import Array
from pipeline.analysis.tables import write_tables
from pipeline.report.records import model_error_table, runs_table, settings_table

REFERENCE = "mbpo"  # whose return is 1 in the paper's normalised average
STATISTICS = ("cumulative_max", "final")  # the published metric, and the one that hides no collapse
THRESHOLDS = np.linspace(0.0, 1.5, 61)
PUBLISHED_SEEDS = 4  # Ma et al. (2023), section 5.2
ENDS = ["low", "high", "coverage"]  # of a nominal 95 % interval, and what it covers
EXACTLY_1 = 1.0, None, None, None


def averages_table(seeds: pd.DataFrame, final: pd.DataFrame) -> pd.DataFrame:
    """Mean over environments of the final cumulative maximum over MBPO's: ours, published, both on our environments.

    Ours with its bootstrap interval; it needs MBPO, and MBPO's return to be positive in every environment.
    """
    rows: list[tuple[object, ...]] = []
    envs, methods = list(seeds["env"].unique()), [str(method) for method in seeds["method"].unique()]
    ours = {method: matrix(seeds, method, "cumulative_max", envs) for method in methods}
    if REFERENCE in methods and ours[REFERENCE].mean(1).min() > 0:
        for method, returns in ours.items():
            interval = stats.floats(stats.bootstrap_interval(stats.mean_ratio, [returns, ours[REFERENCE]]))
            known = *interval, covers("normalised average", *returns.shape)
            rows.append(("ours", method, *(known if method != REFERENCE else EXACTLY_1), *returns.shape))
    final = final[final["env"] != "NormalizedAverage"].assign(env=lambda table: table["env"].str.lower())
    finals = final.pivot(index="env", columns="method", values="final_return")
    ratios = finals.div(finals[REFERENCE], axis=0)
    for source, chosen in (("published", list(ratios.index)), ("published, our environments", envs)):
        if set(chosen) <= set(ratios.index):
            for method, ratio in ratios.loc[chosen].mean().items():
                rows.append((source, method, ratio, None, None, None, len(chosen), PUBLISHED_SEEDS))
    return pd.DataFrame(rows, columns=["source", "method", "value", *ENDS, "n_envs", "n_seeds"])


def profiles_table(scores: dict[str, dict[str, Array]]) -> pd.DataFrame:
    """Share of each method's runs above every threshold, with its bootstrap interval: statistic, method, threshold."""
    rows, profile = [], partial(stats.performance_profile, thresholds=THRESHOLDS)
    for statistic, by_method in scores.items():
        for method, values in by_method.items():
            interval = stats.bootstrap_interval(profile, [values], resamples=2_000)
            known = *interval, covers("performance profile", *values.shape)
            columns = [np.broadcast_to(np.nan if part is None else part, THRESHOLDS.shape) for part in known]
            rows += [(statistic, method, *row) for row in zip(THRESHOLDS, *columns, strict=True)]
    return pd.DataFrame(rows, columns=["statistic", "method", "threshold", "share", *ENDS])


def improvement_table(scores: dict[str, dict[str, Array]]) -> pd.DataFrame:
    """Chance that a run of `method` beats one of `other` on the same environment, with its bootstrap interval."""
    rows = []
    for statistic, by_method in scores.items():
        for (method, mine), (other, theirs) in permutations(by_method.items(), 2):
            interval = stats.bootstrap_interval(stats.probability_of_improvement, [mine, theirs], resamples=4_000)
            known = *stats.floats(interval), covers("probability of improvement", *mine.shape)
            rows.append((statistic, method, other, *known))
    return pd.DataFrame(rows, columns=["statistic", "method", "other", "probability", *ENDS])


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
    made("report_tables", make)
