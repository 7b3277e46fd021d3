"""The evidence's tables for people: evidence.md, and the cells of its table of runs on the page."""

from collections.abc import Iterator

import pandas as pd

from pipeline.analysis.extent import TOTAL, so_far
from pipeline.analysis.looks import place_of, spelled
from pipeline.analysis.tables import table_lines
from pipeline.claims.table import estimate, why

NOTHING = "No run of the published protocol is recorded yet."
CLOCK = "The published curves do not count the 5,000 random steps: they are read 5,000 env steps earlier."
# Columns of the table of runs: heading, and the number with its format.
SHOWN = {
    "last return": ("final", ",.0f"),
    "best return": ("best", ",.0f"),
    "longest fall, env steps": ("longest_fall_env_steps", ",.0f"),
    "share of the buffer": ("share_of_buffer", ".2f"),
    "bias, newest": ("bias_newest", ".3g"),
    "RMSE, newest": ("rmse_newest", ".3g"),
    "probes": ("probes", ".0f"),
    "bias, fresh": ("bias_fresh", ".3g"),
    "RMSE, fresh": ("rmse_fresh", ".3g"),
    "mean Q at the end": ("q", ",.0f"),
}
RUNS_CAPTION = (
    "Share of the buffer, bias and RMSE are medians from env step 10,000 on. A fall is a stretch of evaluations below "
    "half of the best return so far."
)


def run_rows(runs: pd.DataFrame) -> Iterator[list[str]]:
    """The table of runs, header first."""
    yield ["run", "env steps", *SHOWN]
    for _, row in runs.iterrows():
        name = f"{spelled(str(row['method']))}, {place_of(row['env'])}, seed {row['seed']}"
        numbers = [format(row[column], digits) if pd.notna(row[column]) else "" for column, digits in SHOWN.values()]
        yield [name, so_far(row["env_steps"], row[TOTAL]), *(text.replace("-", "−") for text in numbers)]


def markdown(so_far_rows: pd.DataFrame, claims: pd.DataFrame, runs: pd.DataFrame) -> Iterator[str]:
    """What the runs show as far as they go: of the claims about the end, of the new group, and one by one."""
    yield from ("# The published protocol, as far as the runs go", "")
    yield NOTHING if runs.empty else CLOCK
    if not so_far_rows.empty:
        yield from ("", "## Claims about the end of training, not decided by this", "")
        yield from table_lines(("claim", "so far"), so_far_rows[["id", "words"]].to_numpy().tolist(), "l")
    yield from ("", "## Claims about runs that have not ended", "")
    rows = claims.fillna({"reason": "", "remark": ""}).itertuples()
    cells = [[row.claim, row.verdict, estimate(row), why(row, "; ")] for row in rows]
    yield from table_lines(("claim", "verdict", "ours", "of what, and why"), cells, "l")
    if not runs.empty:
        yield from ("", "## Runs", "", RUNS_CAPTION, "")
        head, *rest = run_rows(runs)
        yield from table_lines(head, rest, "l")
