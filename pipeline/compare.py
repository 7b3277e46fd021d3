"""Compares two configurations: their paired differences with intervals, and both drawn.

Each is a method of params.yaml (its recorded runs at the scale there), a scale (all its recorded runs), a folder with
runs (evals.csv below it), or a git revision (the results recorded in it). Runs are paired by seed where both have the
same environment and seed; B minus A. What A and B share of method, environment and scale is compared like with like;
the rest is named and left out. Runs count up to env step `until` (default: that of the grid; none: as far as they go).
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.analysis import stats
from pipeline.analysis.extent import stops_in_words
from pipeline.analysis.looks import looks
from pipeline.analysis.results import Grid, ResultsError, nearest, read_grid
from pipeline.analysis.runs import RUN, STATISTICS, intervals, seeds_table
from pipeline.analysis.sides import Side, side
from pipeline.analysis.stage import DIGITS
from pipeline.analysis.style import band, panels, save, step_axis, styled
from pipeline.files import replaced_folder
from tom.settings.fields import SettingsError

FEW_SEEDS, FEW_POINTS = 3, 12
KIND = ["method", "env"]


def aligned(one: Side, other: Side) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both sides' runs with the same labels: where each has one method, the method's name is no difference."""
    sides = [each.runs for each in (one, other)]
    if all(runs["method"].nunique() == 1 for runs in sides):
        sides = [runs.assign(method="") for runs in sides]
    return sides[0], sides[1]


def statistic_by_run(runs: pd.DataFrame, statistic: str) -> pd.Series:
    """The statistic of every run, by method, env and seed; ResultsError if one of them is there twice."""
    for key in runs.loc[runs.duplicated([*RUN, "env_steps"]), RUN].itertuples(index=False):
        raise ResultsError(f"{' '.join(map(str, key))} is there twice: name a narrower folder")
    return seeds_table(runs).set_index(RUN)[statistic]


def differences(one: pd.DataFrame, other: pd.DataFrame, statistic: str) -> pd.DataFrame:
    """Per method and environment that both have: each side's mean over the shared seeds, B - A and its t interval."""
    sides = {"a": statistic_by_run(one, statistic), "b": statistic_by_run(other, statistic)}
    both = pd.concat(sides, axis=1, join="inner").reset_index().assign(difference=lambda rows: rows["b"] - rows["a"])
    if both.empty:
        raise ResultsError(f"they share no environment and seed: {_has(one)} against {_has(other)}")
    a, b, difference = (intervals(both, KIND, name) for name in ("a", "b", "difference"))
    table = difference.rename(columns={"mean": "difference"}).assign(a=a["mean"], b=b["mean"])
    return table[[*KIND, "n_seeds", "a", "b", "difference", "low", "high"]]


def _has(runs: pd.DataFrame) -> str:
    cells = runs[RUN].drop_duplicates()
    return ", ".join(" ".join(map(str, row)).strip() for row in cells.itertuples(index=False))


def left_out(one: Side, other: Side, a: pd.DataFrame, b: pd.DataFrame) -> Iterator[str]:
    """Runs that only one side has, and environments in which the sides have runs of different lengths."""
    cells = [runs.groupby(RUN)["env_steps"].max() for runs in (a, b)]
    for each, mine, theirs in ((one, *cells), (other, *reversed(cells))):
        alone = [" ".join(map(str, key)).strip() for key in mine.index.difference(theirs.index)]
        if alone:
            yield f"only in {each.name}: {', '.join(alone)}"
    shared = cells[0].index.intersection(cells[1].index)
    unequal = shared[cells[0][shared].to_numpy() != cells[1][shared].to_numpy()]
    for method, env, seed in unequal:
        lengths = [f"{part[method, env, seed]:,}" for part in cells]
        both = min(part[method, env, seed] for part in cells)
        yield f"different lengths: {method} {env} seed {seed}".replace("  ", " ") + (
            f", {' and '.join(lengths)} steps; until={both} compares what both have"
        )


def table_text(table: pd.DataFrame, one: Side, other: Side, statistic: str) -> Iterator[str]:
    """The differences as people read them."""
    for letter, each in (("A", one), ("B", other)):
        yield f"{letter}: {each.what}" + (f", so far {words}" if (words := stops_in_words(each.runs)) else "")
    yield f"{statistic} of each run, B − A paired by seed, 95 % t interval of the mean"
    for row in table.itertuples():
        name = " ".join(filter(None, (row.method, row.env)))
        ends = "one seed: no interval" if pd.isna(row.low) else f"[{row.low:+.1f}, {row.high:+.1f}]"
        sure = "" if pd.isna(row.low) or row.low <= 0 <= row.high else ("  B higher" if row.low > 0 else "  A higher")
        yield f"  {name:<28} {row.a:10.1f} {row.b:10.1f}   {row.difference:+.1f} {ends}, {row.n_seeds} seeds{sure}"


def draw(one: Side, other: Side, table: pd.DataFrame, a: pd.DataFrame, b: pd.DataFrame) -> Figure:
    """Learning curves of both, a panel per method and environment: seeds thin, means thick, t bands from 3 seeds."""
    styles = looks([one.name, other.name])
    figure, axes = panels(len(table), width=3.6, height=2.8, margin=0.8)
    for ax, kind in zip(axes, table.itertuples(), strict=True):
        for runs, each in ((a, one), (b, other)):
            look = styles[each.name]
            chosen = runs[(runs["method"] == kind.method) & (runs["env"] == kind.env)]
            wide = chosen.pivot(index="env_steps", columns="seed", values="return_mean").dropna()
            ax.plot(wide.index, wide, color=look.colour, linewidth=0.7, alpha=0.5)
            (thick,) = ax.plot(wide.index, wide.mean(axis=1), color=look.colour, linestyle=look.line, linewidth=2.2)
            thick.set(marker=look.marker if len(wide) <= FEW_POINTS else "", markersize=4, label=each.name)
            if wide.shape[1] >= FEW_SEEDS:
                low, high = np.array([stats.mean_interval(row)[1:] for row in wide.to_numpy()], dtype=float).T
                band(ax, wide.index, low, high, look)
        ax.set(title=" ".join(filter(None, (kind.method, kind.env))), xlabel="environment steps")
        step_axis(ax)
    axes[0].set_ylabel("return")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, handlelength=3)
    return figure


def write(folder: Path, table: pd.DataFrame, figure: Figure) -> Path:
    """Replaces the folder by differences.csv and curves.png and .pdf."""
    with replaced_folder(folder) as fresh:
        table.to_csv(fresh / "differences.csv", index=False, float_format=DIGITS, lineterminator="\n")
        save(figure, fresh / "curves", dpi=150)
    return folder


def limit(until: str | None, grid: Grid, envs: Iterable[str]) -> Mapping[str, int]:
    """The env step up to which runs count, by environment; ResultsError for what is none."""
    if until is None:
        return grid.until
    if until != "none" and not until.isdecimal():
        raise ResultsError(f"until={until} is not a number of env steps, nor none; valid example: 40000")
    return {} if until == "none" else dict.fromkeys(envs, int(until))


def cut(each: Side, until: Mapping[str, int]) -> Side:
    """A side with the evaluations up to the env step given for each environment."""
    last = each.runs["env"].map(until).fillna(np.inf)
    return each._replace(runs=each.runs[each.runs["env_steps"] <= last])


def compared(first: str, second: str, statistic: str, until: str | None, out: Path | None, root: Path) -> str:
    """The lines of the comparison; its table and figure are in `out`. SettingsError for a name that cannot be used."""
    try:
        if statistic not in STATISTICS:
            raise ResultsError(f"statistic={statistic} does not exist; {nearest(statistic, STATISTICS)}")
        grid = read_grid(root / "params.yaml")
        one, other = side(first, grid.scale, root), side(second, grid.scale, root)
        steps = limit(until, grid, {*one.runs["env"], *other.runs["env"]})
        one, other = cut(one, steps), cut(other, steps)
        a, b = aligned(one, other)
        table = differences(a, b, statistic)
    except ResultsError as error:
        raise SettingsError(str(error)) from None
    words = "-vs-".join("".join(c if c.isalnum() or c in "._-" else "-" for c in name) for name in (first, second))
    with styled():
        folder = write(out or root / "runs/compare" / words, table, draw(one, other, table, a, b))
    lines = (*table_text(table, one, other, statistic), *left_out(one, other, a, b))
    return "\n".join((*lines, f"figure: {folder / 'curves.png'}"))
