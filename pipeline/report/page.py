"""`python -m pipeline.report.page` writes reports/index.html: the report as one file that needs no network.

Made from tables and figures alone: same files in, same bytes out. Pictures, their data and the script that draws some
of them anew are inside, so that it can be sent alone.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from pipeline.analysis.extent import stops
from pipeline.analysis.looks import place_of, spelled
from pipeline.analysis.stage import made
from pipeline.claims.table import READING, estimate, groups, read_tables, value
from pipeline.claims.verdict import CONTRADICTED, INCONCLUSIVE, NOT_RUN, SUPPORTED
from pipeline.files import write_file
from pipeline.report import curves
from pipeline.report.pictures import PROTOCOL, base64_of, drawn_as, fitted, pictures
from pipeline.report.studies import studies
from pipeline.suites.evidence.page import CLOCK, NOTHING, RUNS_CAPTION, run_rows
from pipeline.suites.returns.page import HEADINGS, NAMES
from pipeline.suites.returns.page import rows_of as returns_rows

PLACE = Path("reports") / "index.html"
LIMIT_BYTES = 3_000_000
MARKS = {SUPPORTED: "✓", CONTRADICTED: "✗", INCONCLUSIVE: "?", NOT_RUN: "–"}
REGISTER = Path("reports") / "deviations.md"
MARKDOWN = MarkdownIt("commonmark", {"html": False})


def deviations(register: Path) -> list[list[Markup]]:
    """The rows of the register of deviations, header first; ValueError if the file has no table."""
    lines = register.read_text(encoding="utf-8").splitlines()
    rows = [line.strip("|").split(" | ") for line in map(str.strip, lines) if line.startswith("|")]
    if not rows:
        raise ValueError(f"{register} has no table")
    return [[inline(cell) for cell in row] for row in rows if not row[0].strip().startswith("---")]


def inline(text: str) -> Markup:
    """A cell of Markdown as HTML; what looks like HTML in it is text. Links are the register's, beside the page."""
    return Markup(MARKDOWN.renderInline(text.strip()))


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as rows; a missing cell is an empty text."""
    return [{str(key): "" if pd.isna(cell) else cell for key, cell in row.items()} for row in table.to_dict("records")]


def verdicts(claims: pd.DataFrame, by_env: pd.DataFrame, so_far: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Each claim with what its row shows, its environments where there are several, and what runs show so far."""
    for row in claims.itertuples():
        parts = by_env[by_env["id"] == row.id]
        yield {
            **rows_of(claims.loc[[row.Index]])[0],
            "mark": MARKS[str(row.verdict)],
            "kind": str(row.verdict).split()[0],
            "ours": estimate(row),
            "theirs": value(row, row.published),
            "parts": rows_of(parts) if len(parts) > 1 else [],
            "so_far": list(so_far[so_far["id"] == row.id]["words"]),
        }


def evidence(reports: Path, charts: Mapping[str, str], so_far: pd.DataFrame) -> dict[str, Any]:
    """What the section about runs that have not ended shows: verdicts, figures, the runs, and what to know of them."""
    tables = reports / "tables" / "evidence"
    runs = pd.read_csv(tables / "runs.csv")
    return {
        "claims": list(verdicts(*read_tables(tables), so_far)),
        "drawn": drawn_as(reports, charts, "evidence/*", *PROTOCOL, named=True),
        "runs": [] if runs.empty else list(run_rows(runs)),
        "about": NOTHING if runs.empty else CLOCK,
        "caption": RUNS_CAPTION,
    }


def returns(tables: Path) -> list[dict[str, Any]]:
    """Per statistic its heading and rows: environment, method, mean, interval and every seed."""
    found, form = {name: pd.read_csv(tables / "returns" / f"{name}.csv") for name in ("seeds", "returns")}, ",.0f"
    return [
        {"heading": heading, "rows": list(returns_rows(found, name, form, "{:,.0f} to {:,.0f}", "one seed: none"))}
        for name, heading in HEADINGS.items()
    ]


def coverage(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per interval, a column per kind of scores and number of seeds."""
    table = table.assign(study=table["scores"] + ", " + table["n_seeds"].astype(str) + " seeds")
    wide = table.pivot(index="interval", columns="study", values="coverage")
    return rows_of(wide.loc[table["interval"].unique(), table["study"].unique()].reset_index())


def provenance(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """What was recorded with the grid's runs, over all of them: commits, machines, versions and hours."""
    commits = runs["git_commit"].astype(str).str[:12]
    named = {"commits of the code": commits, "processors": runs["cpu"], "devices": runs["device"]}
    named |= {name: runs[name] for name in ("python", "torch", "numpy", "gymnasium", "mujoco")}
    texts = [(name, ", ".join(map(str, values.unique()))) for name, values in named.items()]
    wall, processor = (f"{runs[clock].sum() / 3600:.2f}" for clock in ("wall_s", "cpu_s"))
    texts.append(("hours of training, sum over runs", f"{wall} (processor: {processor})"))
    return [*texts, ("finished between", f"{runs['finished'].min()} and {runs['finished'].max()}")]


def reading_error(path: Path) -> float:
    """The largest reading error of a digitised final return, as a share of it."""
    final = pd.read_csv(path)
    curves = final[final["at_env_steps"].notna()]
    return float((curves["plus_minus_reading_error"] / curves["final_return"]).max())


def render(root: Path) -> str:
    """The page's HTML; FileNotFoundError or ValueError where something it shows is missing, or it exceeds 3 MB."""
    reports, tables = root / "reports", root / "reports" / "tables"
    so_far = pd.read_csv(tables / "evidence" / "so_far.csv")
    claims, by_env = read_tables(tables / "claims")
    own, neighbours, checks = groups(claims)
    runs = pd.read_csv(tables / "report" / "runs.csv")
    charts = curves.charts(reports)
    drawn, absent = pictures(reports, charts)
    so_far_shown = evidence(reports, charts, so_far)
    shown = partial(verdicts, by_env=by_env, so_far=so_far)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    draw = partial(
        environment.get_template("page.html.j2").render,
        scale=str(runs["scale"].iloc[0]),
        extent=", ".join(f"{place_of(env)} {words}" for env, words in stops(runs).items()),
        studies=list(studies(tables)),
        claims=list(shown(own)),
        neighbours=list(shown(neighbours)),
        checks=list(shown(checks)),
        counts=[(verdict, mark, int((own["verdict"] == verdict).sum())) for verdict, mark in MARKS.items()],
        evidence=so_far_shown,
        drawn=drawn,
        absent=absent,
        returns=returns(tables),
        aggregate=rows_of(pd.read_csv(tables / "returns" / "aggregate.csv")),
        coverage=coverage(pd.read_csv(tables / "coverage" / "coverage.csv")),
        settings=rows_of(pd.read_csv(tables / "report" / "settings.csv", dtype=str)),
        deviations=deviations(root / REGISTER),
        provenance=provenance(runs),
        reading_error=reading_error(reports / "paper" / "fig3_final.csv"),
        runs=rows_of(runs),
        reading=inline(READING),
        rule=base64_of((reports / "claims.yaml").read_bytes()),
        script=curves.script(),
        points=curves.POINTS,
        spelled=spelled,
        place_of=place_of,
        titles=NAMES,
    )
    return fitted(draw, [*so_far_shown["drawn"], *drawn], LIMIT_BYTES)


def make(root: Path) -> Path:
    """Replaces `root`/reports/index.html and returns its path."""
    write_file(root / PLACE, render(root).encode("utf-8"))
    return root / PLACE


if __name__ == "__main__":
    made("page", make)
