"""The verdicts in a terminal: of all claims, or one claim by environment."""

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.analysis.results import ResultsError, nearest
from pipeline.claims.claim import NoClaim
from pipeline.claims.table import estimate, groups, read_tables, value
from pipeline.claims.verdict import VERDICTS
from pipeline.files import here

TABLES = Path("reports/tables")
FOLDERS = ("claims", "evidence")
WIDEST, NARROWEST = 120, 76
NARROW = (13, 11, 9)  # columns of the numbers, and of what decides a claim
GAP = "  "
SHOWS = {"contradicted": " (against the claim)"}


def overview(table: pd.DataFrame, so_far: pd.DataFrame, width: int) -> Iterator[str]:
    """The verdict table, and below it why claims were not run and what the paper's figures and short runs show."""
    early = table["folder"] == "evidence"
    claims, neighbours, checks = groups(table[~early])
    for rows, heading in (
        (claims, "Claims of the paper"),
        (neighbours, "Claims of other systems' papers"),
        (checks, "The paper against its own figures"),
        (table[early], "The published protocol, as far as the runs go"),
    ):
        counts = [f"{(rows['verdict'] == verdict).sum()} {verdict}" for verdict in VERDICTS]
        said = ", ".join(count for count in counts if not count.startswith("0 "))
        yield from textwrap.wrap(f"{heading}: {said}", width)
        columns = (12, width - sum(NARROW) - 12 - 4 * len(GAP), *NARROW)
        yield from _cells(("verdict", "claim (id)", "ours", "published", "to decide this"), columns)
        for row in rows.itertuples():
            shown = f"{value(row, row.published)}{SHOWS.get(row.in_the_figure, '')}"
            short = row.verdict.removesuffix(" at this scale")
            needs = row.to_decide.partition(":")[0]
            cells = (short, f"{row.claim} ({row.id})", estimate(row) or "-", shown or "-", needs or "-")
            yield from _cells(cells, columns)
        yield ""
    for reason, rows in table[table["reason"] != ""].groupby("reason", sort=False):
        yield from textwrap.wrap(f"{reason}: {', '.join(rows['id'])}", width, subsequent_indent="    ")
    early_remarks = [f"{row.id}: {row.remark}" for row in table[early].itertuples() if row.remark]
    words = [f"So far ({row.id}), at {row.words}" for row in so_far.itertuples()]
    for text in (*filter(None, table[~early]["remark"]), *early_remarks, *words):
        yield from textwrap.wrap(text, width, subsequent_indent="    ")
    yield ""
    yield "One claim by environment: tom report ID"
    yield "The runs that decide it: tom plan --claim ID; tom repro --claim ID trains them"
    yield "The page: reports/index.html"


def _cells(texts: Sequence[str], columns: Sequence[int]) -> Iterator[str]:
    wrapped = [textwrap.wrap(text, size) for text, size in zip(texts, columns, strict=True)]
    for parts in zip_longest(*wrapped, fillvalue=""):
        yield GAP.join(part.ljust(size) for part, size in zip(parts, columns, strict=True)).rstrip()


def one(row: Any, parts: pd.DataFrame, width: int) -> Iterator[str]:
    """One claim with the region that it names and its estimate in every environment."""
    yield f"{row.verdict.upper()}: {row.id} ({row.place})"
    yield from _wrapped(row.claim, width)
    about = max(row.envs, row.in_envs)  # environments, some of which may not be measured yet
    needed = f" on {row.in_envs} of {about} environments" if about > 1 else ""
    yield from _wrapped(f"{row.quantity} in [{row.region_low:g}, {row.region_high:g}]{needed}", width)
    yield from _wrapped(" ".join(filter(None, (row.reason and f"Why: {row.reason}.", row.remark))), width)
    if row.to_decide:
        yield from _wrapped(f"To decide this: {row.to_decide}.", width)
    columns = ["env", "estimate", "low", "high", "n_seeds", "holds", "published", "published_holds"]
    yield parts[columns].to_string(index=False, na_rep="", float_format=lambda number: f"{number:.4g}")


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="    ")


def told(ids: Sequence[str], root: Path | None = None) -> str:
    """The verdict table, or these claims; NoClaim for another word, ResultsError where tables are missing."""
    root = root or here()
    width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))
    try:
        table, parts = _read(root)
        so_far = pd.read_csv(root / TABLES / "evidence" / "so_far.csv")
    except FileNotFoundError as error:
        raise ResultsError(f"{error.filename} is missing: run tom repro") from None
    for name in ids:
        if name not in set(table["id"]):
            raise NoClaim(f"{name} is no claim; {nearest(name, table['id'])}")
    if not ids:
        return "\n".join(overview(table, so_far, width))
    rows = [row for name in ids for row in table[table["id"] == name].itertuples()]
    return "\n".join(line for row in rows for line in one(row, parts[parts["id"] == row.id], width))


def _read(root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The claims and then those about runs that have not ended, with the folder a row is of; both by environment."""
    both = [read_tables(root / TABLES / folder) for folder in FOLDERS]
    tables = [table.assign(folder=folder) for folder, (table, _) in zip(FOLDERS, both, strict=True)]
    parts = [part for _, part in both if not part.empty]
    return pd.concat(tables, ignore_index=True), pd.concat(parts, ignore_index=True)
