"""The tables as one page of Markdown, every seed listed."""

from collections.abc import Iterator

import pandas as pd

from pipeline.analysis.coverage import MARK, falls_short, mark
from pipeline.analysis.extent import extents
from pipeline.analysis.looks import place_of, spelled
from pipeline.analysis.results import Grid
from pipeline.analysis.stats import LEAST_SEEDS
from pipeline.analysis.tables import table_lines, with_interval

HEADINGS = {
    "final": "Final return (last evaluation)",
    "cumulative_max": "Cumulative maximum (the published metric; it hides collapses)",
    "auc": "Average height of the learning curve (area / length)",
}
NAMES = {  # of statistics of a run's evaluations
    "final": "last return",
    "final_window": "mean return of the last tenth",
    "best_of_last_three": "best of the last three returns",
    "cumulative_max": "best return",
    "auc": "average height of the curve",
    "auc_cumulative_max": "average height of the best return so far",
}


def markdown(tables: dict[str, pd.DataFrame], grid: Grid) -> str:
    """The page: per statistic one table of means, t intervals and seeds, then the aggregate over environments."""
    lines = [f"# Returns at scale `{grid.scale}`", "", *_preamble(grid, tables["seeds"])]
    head = ("environment", "method", "mean", "95 % interval", "each seed")
    for statistic, heading in HEADINGS.items():
        lines += [
            "",
            f"## {heading}",
            "",
            *table_lines(head, rows_of(tables, statistic, ".0f", "[{:.0f}, {:.0f}]", ""), "llrcl"),
        ]
    lines += ["", "## Over environments", "", *_aggregate(tables)]
    return "\n".join(lines) + "\n"


def _preamble(grid: Grid, seeds: pd.DataFrame) -> Iterator[str]:
    count = len(grid.seeds)
    steps = ", ".join(f"{place_of(env)} {words}" for env, words in extents(seeds).items())
    yield f"{count} {'seed' if count == 1 else 'seeds'} per cell; environment steps: {steps}."
    yield (
        "Brackets: 95 % t interval of the mean over seeds."
        if count > 1
        else "One seed: no interval can be given, and a difference between methods may be luck."
    )


def rows_of(tables: dict[str, pd.DataFrame], name: str, form: str, ends: str, none: str) -> Iterator[tuple[str, ...]]:
    """Environment, method, mean, interval and every seed of a statistic, in these forms, or with `none`."""
    runs = tables["seeds"].groupby(["method", "env"])[name]
    for _, row in tables["returns"].iterrows():
        mean, low, high = (row[f"{name}_{part}"] for part in ("mean", "low", "high"))
        interval = none if pd.isna(low) else ends.format(low, high)
        each = ", ".join(f"{value:{form}}" for value in runs.get_group((row["method"], row["env"])))
        yield place_of(row["env"]), spelled(row["method"]), f"{mean:{form}}", interval, each


def _aggregate(tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    table = tables["aggregate"]
    if table.empty:
        yield "No method improved on untrained policies in any environment: there is no scale to compare on."
        return
    yield "Interquartile mean of (return - floor) / (top - floor) over environments and seeds, where"
    ends = [f"{place_of(row['env'])} {row['floor']:.0f} and {row['top']:.0f}" for _, row in tables["scales"].iterrows()]
    yield f"floor = untrained policies, top = the best method's mean cumulative maximum: {'; '.join(ends)}."
    yield "The choice of the top is part of the data, and its uncertainty is not in the intervals."
    if table["coverage_normal"].notna().all():
        first = table.iloc[0]
        yield (
            f"Brackets: stratified bootstrap, nominally 95 %; in simulations with {first['n_envs']} environments and "
            f"{first['n_seeds']} seeds they hold the truth in {first['coverage_normal']:.0%} of studies, "
            f"{first['coverage_with_collapses']:.0%} where 15 % of the runs collapse."
            + (f" {MARK}: they cover less than they say." if falls_short(first["coverage_normal"]) else "")
        )
    else:
        yield f"Fewer than {LEAST_SEEDS} seeds: an interval would cover far less than it says, and none is given."
    yield ""
    cells = (
        [spelled(str(method)), *map(_iqm, rows.set_index("statistic").loc[[*HEADINGS]].to_dict("records"))]
        for method, rows in table.groupby("method", sort=False)
    )
    yield from table_lines(("method", *HEADINGS), cells, "lc")


def _iqm(row: dict[str, float]) -> str:
    return with_interval(row["iqm"], row["low"], row["high"], ".2f") + mark(row["coverage_normal"])
