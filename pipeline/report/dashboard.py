"""The W&B Report: verdicts, curves by method per environment, final returns, weights, settings.

Built from tables with wandb-workspaces. Without an entity it can be built, and written as JSON, by someone who has no
account: the run sets then name no project.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.analysis.extent import at_scale
from pipeline.analysis.looks import spelled
from pipeline.analysis.tables import table_lines

TITLE = "Transition occupancy matching: does it hold?"
AGES = 10  # tenths of the buffer by age, 0 the oldest: columns weights/age_<k> of train.csv


def build(root: Path, entity: str = "", project: str = "") -> Any:
    """The unsaved report, its run sets bound to `entity`/`project` if they are given."""
    import wandb_workspaces.reports.v2 as wr

    return wr.Report(
        project=project or "none",
        entity=entity or "none",
        title=TITLE,
        description="Every empirical claim of Ma et al. (2023) with a verdict; made from the tables of the repository.",
        blocks=list(blocks(root, entity, project)),
        width="fluid",
    )


def blocks(root: Path, entity: str, project: str) -> Iterator[Any]:
    """The report's parts, in their order."""
    import wandb_workspaces.reports.v2 as wr

    tables = root / "reports" / "tables"
    runs = pd.read_csv(tables / "report" / "runs.csv")
    scale, envs = str(runs["scale"].iloc[0]), list(runs["env"].unique())
    yield wr.TableOfContents()
    yield wr.H1("Verdicts")
    yield wr.MarkdownBlock((tables / "claims" / "claims.md").read_text(encoding="utf-8").partition("\n")[2])
    yield wr.H1(f"Learning curves at scale {at_scale(scale, runs)}")
    for env in envs:
        yield wr.H2(str(env))
        yield wr.PanelGrid(runsets=[_runset(wr, entity, project, scale, env)], panels=list(_panels(wr)))
    yield wr.H1("Settings")
    yield wr.MarkdownBlock(_settings(pd.read_csv(tables / "report" / "settings.csv", dtype=str)))


def _runset(wr: Any, entity: str, project: str, scale: str, env: str) -> Any:
    """The runs on one environment, a group per method."""
    where = {"entity": entity, "project": project} if entity else {}
    chosen = f"Config('scale') = '{scale}' and Config('env_name') = '{env}'"
    return wr.Runset(name=f"{env}, {scale}", filters=chosen, groupby=["config.method_name"], **where)


def _panels(wr: Any) -> Iterator[Any]:
    """Return by env step and at the end; the weights by age; the model's error."""
    grouped = {"groupby": "method_name", "groupby_aggfunc": "mean"}
    over = {"x": "env_steps", "title_x": "environment steps", **grouped}
    ages = [f"weights/age_{age}" for age in range(AGES)]
    yield wr.LinePlot(title="return", y=["eval/return_mean"], groupby_rangefunc="minmax", **over)
    yield wr.BarPlot(title="final return", metrics=["eval/return_mean"], groupby_rangefunc="minmax", **grouped)
    yield wr.LinePlot(title="mean weight by age of the data, 0 oldest", y=ages, **over)
    yield wr.LinePlot(title="model error", y=["model/rmse"], **over)


def _settings(table: pd.DataFrame) -> str:
    """The settings as Markdown, a column per method."""
    names = [column for column in table.columns if column not in ("paper", "released")]
    head = ["setting", *(spelled(name) for name in names[1:]), "paper", "released code"]
    rows = table.fillna("")[[*names, "paper", "released"]].to_numpy().tolist()
    return "\n".join(table_lines(head, ([str(cell).replace("|", "/") for cell in row] for row in rows), "l"))
