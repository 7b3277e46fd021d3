"""`python -m pipeline.report.page` writes reports/index.html: the report as one file that needs no network.

Made from tables and figures alone: same files in, same bytes out. Pictures are embedded, runs are linked beside it.
"""

import base64
import os
import re
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from pipeline.claims import estimate, value
from pipeline.looks import spelled
from pipeline.report.verdict import CONTRADICTED, INCONCLUSIVE, NOT_RUN, SUPPORTED
from pipeline.summary import HEADINGS

PLACE = Path("reports") / "index.html"
LIMIT_BYTES = 3_000_000
SHOWN = 0.7  # of a picture's pixels: they are drawn for print
MARKS = {SUPPORTED: "✓", CONTRADICTED: "✗", INCONCLUSIVE: "?", NOT_RUN: "–"}
REGISTER = "## Where this departs from the paper or its released code"
# Every figure by folder and file name: (heading, what it shows, table with its data).
FIGURES = {
    "report/published_curves": (
        "Published learning curves",
        "Best return so far by environment steps, five methods on five environments, read off Figure 3 of the paper.",
        "paper/fig3_curves.csv",
    ),
    "returns/learning_curves": (
        "Learning curves, cumulative maximum",
        "Best return so far by environment steps: each seed thin, their mean thick, the published mean if comparable.",
        "tables/returns/curves_by_seed.csv",
    ),
    "returns/learning_curves_plain": (
        "Learning curves, every evaluation",
        "The same without the maximum, which hides collapses.",
        "tables/returns/curves_by_seed.csv",
    ),
    "report/averages": (
        "Normalised average",
        "Return divided by MBPO's, averaged over environments: ours beside the published bars.",
        "tables/report/averages.csv",
    ),
    "report/profiles": (
        "Performance profiles",
        "Share of a method's runs above each normalised score.",
        "tables/report/profiles.csv",
    ),
    "report/improvement": (
        "Probability of improvement",
        "How likely a run of one method beats a run of another on the same environment.",
        "tables/report/improvement.csv",
    ),
    "report/ablation": (
        "Switches of the released code",
        "What each variant of TOM scores more than TOM.",
        "tables/report/ablation.csv",
    ),
    "report/model_error": (
        "Model error against return",
        "Each run's model error in its last rounds and its best return, one panel per environment.",
        "tables/report/model_error.csv",
    ),
}
SUITES = {
    "road": "Road-and-Rocks (Figure 2)",
    "weights": "Weights on a curated buffer (Figure 4)",
    "age": "Weights by age",
}
NOT_DRAWN = {
    "report/ablation": "needs variants of TOM in grid.methods of params.yaml, for example tom_official and tom_recency",
    "road": "the suite Road-and-Rocks has no figure here",
    "weights": "the suite of the curated buffer has no figure here",
    "age": "the weights by age have no figure here",
}


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it; `data` is its PNG in base64."""

    heading: str
    text: str
    alt: str
    table: str
    file: str
    data: str
    width: int
    height: int


def picture(reports: Path, name: str, heading: str, text: str, table: str) -> Picture | None:
    """The figure `name` below reports/figures; None if it was not drawn."""
    path = reports / "figures" / f"{name}.png"
    if not path.is_file():
        return None
    content = path.read_bytes()
    width, height = struct.unpack(">II", content[16:24])  # where a PNG has its size
    data = base64.b64encode(content).decode("ascii")
    vector = f"figures/{name}.pdf"
    size = round(SHOWN * width), round(SHOWN * height)
    return Picture(heading, text, f"{heading}: {text}", table, vector, data, *size)


def pictures(reports: Path) -> tuple[list[Picture], list[tuple[str, str]]]:
    """Every figure that was drawn, and of the others the heading with what it would need."""
    drawn, absent = [], []
    for name, (heading, text, table) in FIGURES.items():
        found = picture(reports, name, heading, text, table)
        drawn.append(found) if found else absent.append((heading, NOT_DRAWN.get(name, "no data at this scale")))
    for suite, heading in SUITES.items():
        files = sorted((reports / "figures" / suite).glob("*.png"))
        for path in files:
            words = path.stem.replace("_", " ")
            found = picture(reports, f"{suite}/{path.stem}", heading, words, f"tables/{suite}")
            drawn.extend([found] if found else [])
        if not files:
            absent.append((heading, NOT_DRAWN[suite]))
    return drawn, absent


def deviations(readme: Path) -> list[list[Markup]]:
    """The rows of README's register of deviations, header first; ValueError if README has none."""
    lines = readme.read_text(encoding="utf-8").splitlines()
    if REGISTER not in lines:
        raise ValueError(f"{readme} has no section `{REGISTER}`")
    after = lines[lines.index(REGISTER) + 1 :]
    end = next((place for place, line in enumerate(after) if line.startswith("## ")), len(after))
    rows = [line.strip().strip("|").split(" | ") for line in after[:end] if line.startswith("|")]
    return [[inline(cell) for cell in row] for row in rows if not row[0].strip().startswith("---")]


def inline(text: str) -> Markup:
    """A cell of Markdown as HTML: code and escapes, nothing else."""
    parts = re.split(r"`([^`]*)`", text.strip())
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as rows; a missing cell is an empty text."""
    return [{str(key): "" if pd.isna(cell) else cell for key, cell in row.items()} for row in table.to_dict("records")]


def verdicts(claims: pd.DataFrame, by_env: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Each claim with what its row shows, and its environments where there are several."""
    for row in claims.itertuples():
        parts = by_env[by_env["id"] == row.id]
        yield {
            **rows_of(claims.loc[[row.Index]])[0],
            "mark": MARKS[str(row.verdict)],
            "kind": str(row.verdict).split()[0],
            "ours": estimate(row),
            "theirs": value(row, row.published),
            "parts": rows_of(parts) if len(parts) > 1 else [],
        }


def returns(tables: Path) -> list[dict[str, Any]]:
    """Per statistic its heading and rows: environment, method, mean, interval and every seed."""
    seeds, means = (pd.read_csv(tables / "returns" / f"{name}.csv") for name in ("seeds", "returns"))
    found = []
    for name, heading in HEADINGS.items():
        rows = []
        for _, row in means.iterrows():
            runs = seeds[(seeds["method"] == row["method"]) & (seeds["env"] == row["env"])]
            known = pd.notna(row[f"{name}_low"])
            ends = f"{row[f'{name}_low']:,.0f} to {row[f'{name}_high']:,.0f}" if known else "one seed: none"
            each = ", ".join(f"{number:,.0f}" for number in runs[name])
            rows.append((row["env"], spelled(str(row["method"])), f"{row[f'{name}_mean']:,.0f}", ends, each))
        found.append({"heading": heading, "rows": rows})
    return found


def coverage(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per interval, a column per kind of scores and number of seeds."""
    table = table.assign(study=table["scores"] + ", " + table["n_seeds"].astype(str) + " seeds")
    wide = table.pivot(index="interval", columns="study", values="coverage")
    return rows_of(wide.loc[table["interval"].unique(), table["study"].unique()].reset_index())


def provenance(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """What was recorded with the runs, over all of them: commits, machines, versions and hours."""
    texts = [("commits of the code", [str(commit)[:12] for commit in runs["git_commit"].unique()])]
    texts.append(("processors", [str(cpu) for cpu in runs["cpu"].unique()]))
    texts.append(("devices", [str(device) for device in runs["device"].unique()]))
    for name in ("python", "torch", "numpy", "gymnasium", "mujoco"):
        texts.append((name, [str(version) for version in runs[name].unique()]))
    texts.append(
        (
            "hours of training, sum over runs",
            [f"{runs['wall_s'].sum() / 3600:.2f} (processor: {runs['cpu_s'].sum() / 3600:.2f})"],
        )
    )
    texts.append(("finished between", [" and ".join((runs["finished"].min(), runs["finished"].max()))]))
    return [(name, ", ".join(values)) for name, values in texts]


def render(root: Path) -> str:
    """The page's HTML; FileNotFoundError or ValueError where something it shows is missing."""
    reports, tables = root / "reports", root / "reports" / "tables"
    claims = pd.read_csv(tables / "claims" / "claims.csv").fillna({"reason": "", "remark": "", "in_the_figure": ""})
    runs = pd.read_csv(tables / "report" / "runs.csv")
    drawn, absent = pictures(reports)
    shown = list(verdicts(claims, pd.read_csv(tables / "claims" / "by_env.csv")))
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        scale=str(runs["scale"].iloc[0]),
        seeds=int(runs["seed"].nunique()),
        claims=[row for row in shown if not row["check"]],
        checks=[row for row in shown if row["check"]],
        counts=[
            (verdict, MARKS[verdict], int(((claims["verdict"] == verdict) & ~claims["check"]).sum()))
            for verdict in MARKS
        ],
        drawn=drawn,
        absent=absent,
        returns=returns(tables),
        aggregate=rows_of(pd.read_csv(tables / "returns" / "aggregate.csv")),
        coverage=coverage(pd.read_csv(tables / "coverage" / "coverage.csv")),
        settings=rows_of(pd.read_csv(tables / "report" / "settings.csv", dtype=str)),
        deviations=deviations(root / "README.md"),
        provenance=provenance(runs),
        runs=rows_of(runs),
        spelled=spelled,
    )


def write(root: Path) -> Path:
    """Replaces `root`/reports/index.html and returns its path; ValueError if it would exceed 3 MB."""
    html = render(root).encode("utf-8")
    if len(html) > LIMIT_BYTES:
        raise ValueError(
            f"{PLACE} would have {len(html):,} bytes, more than {LIMIT_BYTES:,}: draw fewer or smaller figures"
        )
    target = root / PLACE
    fresh = target.with_name(f".{target.name}-{os.getpid()}.tmp")
    fresh.write_bytes(html)
    os.replace(fresh, target)
    return target


def main() -> int:
    """Exit status: 0, or 1 after one line that names what is missing."""
    try:
        print(f"wrote {write(Path('.'))}")
    except FileNotFoundError as error:
        print(f"page: {error.filename} is missing: run dvc repro", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"page: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
