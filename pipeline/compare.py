"""Compares configurations, each with the first: paired differences with intervals, and all of them drawn.

Each is a method of params.yaml (its recorded runs at the scale there), a scale (all its recorded runs), a folder with
runs (evals.csv below it), or a git revision (the results recorded in it). Runs are paired by seed where both have the
same environment and seed; the other minus the first. What both have of method and environment is compared like with
like; the rest is named and left out. Runs count up to env step `until` (default: that of the grid; none: as far as they
go).
"""

import hashlib
import shutil
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from pipeline.analysis.extent import stops_in_words
from pipeline.analysis.results import Grid, ResultsError, nearest, read_grid
from pipeline.analysis.runs import RUN, STATISTICS, intervals, named, seeds_table
from pipeline.analysis.sides import Side, side
from pipeline.analysis.sides_figure import draw
from pipeline.analysis.stage import DIGITS
from pipeline.analysis.style import write_figures
from pipeline.config.refusals import stop_in
from pipeline.files import here

LONGEST = 100  # bytes of a folder's name; file systems take 255
KIND = ["method", "env"]


def aligned(sides: Sequence[Side]) -> list[pd.DataFrame]:
    """All sides' runs with the same labels: where each has one method, the method's name is no difference."""
    runs = [each.runs for each in sides]
    if all(each["method"].nunique() == 1 for each in runs):
        runs = [each.assign(method="") for each in runs]
    return runs


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


def table_text(tables: Sequence[pd.DataFrame], sides: Sequence[Side], statistic: str) -> Iterator[str]:
    """The differences as people read them, a table for each side but the first."""
    letters = [string.ascii_uppercase[place % 26] for place in range(len(sides))]
    for letter, each in zip(letters, sides, strict=True):
        yield f"{letter}: {each.what}" + (f", so far {words}" if (words := stops_in_words(each.runs)) else "")
    for letter, table in zip(letters[1:], tables, strict=True):
        yield f"{statistic} of each run, {letter} − A paired by seed, 95 % t interval of the mean"
        for row in table.itertuples():
            name = " ".join(filter(None, (row.method, row.env)))
            ends = "one seed: no interval" if pd.isna(row.low) else f"[{row.low:+.1f}, {row.high:+.1f}]"
            clear = not pd.isna(row.low) and not row.low <= 0 <= row.high
            sure = f"  {letter if row.low > 0 else 'A'} higher" if clear else ""
            yield f"  {name:<28} {row.a:10.1f} {row.b:10.1f}   {row.difference:+.1f} {ends}, {row.n_seeds} seeds{sure}"


def limit(until: str | None, grid: Grid, envs: Iterable[str]) -> Mapping[str, int]:
    """The env step up to which runs count, by environment; SettingsError for what is none."""
    if until is None:
        return grid.until
    return {} if (step := stop_in(until)) is None else dict.fromkeys(envs, step)


def folder_name(names: Sequence[str]) -> str:
    """What the folder of a comparison is called: by the names, or the beginning and a digest of long ones."""
    words = "-vs-".join("".join(c if c.isalnum() or c in "._-" else "-" for c in name) for name in names)
    if len(words.encode()) <= LONGEST:
        return words
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return f"{words[: LONGEST // 4]}-{digest[:16]}"


def cut(each: Side, until: Mapping[str, int]) -> Side:
    """A side with the evaluations up to the env step given for each environment."""
    last = each.runs["env"].map(until).fillna(np.inf)
    return each._replace(runs=each.runs[each.runs["env_steps"] <= last])


def compared(
    names: Sequence[str], statistic: str, until: str | None, out: Path | None, root: Path | None = None
) -> str:
    """The lines of the comparison; its table and figure are in `out`.

    ResultsError for a name that cannot be used, SettingsError for `until`.
    """
    if len(names) < 2:
        raise ResultsError(f"{' '.join(names)} is compared with nothing; name two or more, the first one is A")
    if statistic not in STATISTICS:
        raise ResultsError(f"statistic={statistic} does not exist; {nearest(statistic, STATISTICS)}")
    root = root or here()
    grid = read_grid(root / "params.yaml")
    sides = [side(name, grid.scale, root) for name in names]
    steps = limit(until, grid, {env for each in sides for env in each.runs["env"]})
    sides = [cut(each, steps) for each in sides]
    first, *others = aligned(sides)
    tables = [differences(first, other, statistic) for other in others]
    table = pd.concat([named(table, other=name) for name, table in zip(names[1:], tables, strict=True)])
    figure = draw(dict(zip(names, (first, *others), strict=True)), table, statistic)
    texts = {"differences.csv": table.to_csv(index=False, float_format=DIGITS, lineterminator="\n").removesuffix("\n")}
    with TemporaryDirectory() as scratch:  # from where they join whatever else is in the folder
        fresh = write_figures(Path(scratch) / "fresh", [("curves", figure)], dpi=150, texts=texts)
        folder = shutil.copytree(fresh, out or root / "runs/compare" / folder_name(names), dirs_exist_ok=True)
    lines = [*table_text(tables, sides, statistic)]
    for each, runs in zip(sides[1:], others, strict=True):
        lines += left_out(sides[0], each, first, runs)
    return "\n".join((*lines, f"figure: {folder / 'curves.png'}"))
