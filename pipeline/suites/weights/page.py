"""The suite's statistics as one page of Markdown."""

from collections.abc import Iterator

import pandas as pd

from pipeline.analysis.coverage import mark, mark_explained
from pipeline.analysis.looks import place_of, spelled
from pipeline.analysis.results import Grid
from pipeline.analysis.stats import LEAST_SEEDS
from pipeline.analysis.tables import table_lines, with_interval

PUBLISHED = "published"  # where a method's name stands
STATISTICS = {
    "spearman": "Spearman correlation of weight and stage over SAC's replay",
    "replay_over_random": "mean weight of SAC's replay / of the random transitions",
    "last_quarter_over_random": "mean weight of the buffer's last quarter / of the random transitions",
    "falling": "share of steps from chunk to chunk of the replay at which the weight falls",
}


def markdown(made: dict[str, pd.DataFrame], grid: Grid) -> str:
    """The page: per statistic a row per environment and a column per method, the published bars last."""
    count = len(grid.seeds)
    lines = [f"# Weights on random transitions and SAC's replay at scale `{grid.scale}`", "", *_preamble(made, count)]
    for name, heading in STATISTICS.items():
        table = made["statistics"]
        rows = table[table["statistic"] == name].set_index(["env", "method"])
        methods = [*grid.methods, PUBLISHED]
        lines += ["", f"## {heading[0].upper()}{heading[1:]}", ""]
        known = rows.index
        cells = [
            [place_of(env), *(_cell(rows.loc[env, method]) if (env, method) in known else "" for method in methods)]
            for env in grid.envs
        ]
        heads = (method if method == PUBLISHED else spelled(method) for method in methods)
        lines += table_lines(("environment", *heads), cells, "lc")
    return "\n".join(lines) + "\n"


def _preamble(made: dict[str, pd.DataFrame], count: int) -> Iterator[str]:
    yield "Statistics of the bars, which are means over seeds, as the published ones are."
    yield f"{count} seed{'s' if count > 1 else ''}; brackets: " + (
        f"bootstrap over seeds, nominally 95 %{mark_explained(made['statistics']['coverage'])}; "
        "last: mean of each seed's own statistic."
        if count >= LEAST_SEEDS
        else f"none, since fewer than {LEAST_SEEDS} seeds give no interval."
    )
    yield "SAC's return, mean over seeds of its first and its best evaluation:"
    for env, runs in made["sac"].groupby("env", sort=False):
        first = runs[runs["env_steps"] == 0]["return_mean"].mean()
        best = runs.groupby("seed")["return_mean"].max().mean()
        yield f"{place_of(env)} {round(first)} and {round(best)} in {runs['env_steps'].max():,} steps."


def _cell(row: pd.Series) -> str:
    if pd.isna(row["of_bars"]):
        return ""
    said = with_interval(row["of_bars"], row["low"], row["high"], ".2f")
    return said if pd.isna(row["low"]) else f"{said}{mark(row['coverage'])}; {row['mean_of_seeds']:.2f}"
