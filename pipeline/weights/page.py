"""The suite's statistics as one page of Markdown."""

from collections.abc import Iterator

import pandas as pd

from pipeline.results import Grid

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
        lines += [f"| environment | {' | '.join(methods)} |", "| --- |" + " :---: |" * len(methods)]
        for env in grid.envs:
            cells = [_cell(rows.loc[(env, method)]) if (env, method) in rows.index else "" for method in methods]
            lines.append(f"| {env} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _preamble(made: dict[str, pd.DataFrame], count: int) -> Iterator[str]:
    yield f"{count} seed{'s' if count > 1 else ''}; brackets: " + (
        "percentile bootstrap of the mean over seeds, nominally 95 %, with so few seeds less."
        if count > 1
        else "none, since one seed gives no interval."
    )
    yield "Published: from the digitised bars, which are means over its seeds."
    yield "SAC's return, mean over seeds of its first and its best evaluation:"
    for env, runs in made["sac"].groupby("env", sort=False):
        first = runs[runs["env_steps"] == 0]["return_mean"].mean()
        best = runs.groupby("seed")["return_mean"].max().mean()
        yield f"{env} {first:.0f} and {best:.0f} in {runs['env_steps'].max():,} steps."


def _cell(row: pd.Series) -> str:
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return "" if pd.isna(row["mean"]) else f"{row['mean']:.2f}{interval}"
