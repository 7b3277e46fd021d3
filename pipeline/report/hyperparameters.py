"""Every setting beside the paper and the released code: `python -m pipeline.report.hyperparameters` writes the table.

Ours are the defaults of `tom.settings`; what others used is in reports/paper/hyperparameters.csv, with its source, and
what the words of `origin` stand for in reports/paper/origins.csv: a part from another paper adds a row there.
"""

import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.files import ROOT
from tom.settings import KINDS, names, settings_class
from tom.settings import train as train_settings

FACTS, ORIGINS = "reports/paper/hyperparameters.csv", "reports/paper/origins.csv"
TABLE = "reports/hyperparameters.md"
COLUMNS = ("setting", "ours", "paper", "released code", "unit", "origin", "source")
HEAD = """# Hyperparameters

Written by `python -m pipeline.report.hyperparameters`. *Ours* is the default of the setting, which is its value at
scale `paper` unless `params.yaml` says otherwise for that scale, an environment or a method. *Released code* is that of
the TOM paper (commit 4d196c3), and of MBPO or PDML for what it lacks; a cell is empty where nothing is stated. The
paper's appendix, which may say more, could not be obtained. *Origin* is where our value comes from:
"""


def settings_by_key() -> dict[str, "dataclasses.Field[Any]"]:
    """The field of every setting that can be changed, by `train.<field>` or `<kind>.<part>.<field>`."""
    parts = {"train": train_settings.Settings}
    parts |= {f"{kind}.{name}": settings_class(kind, name) for kind in KINDS for name in names(kind)}
    return {
        f"{part}.{field.name}": field
        for part, settings in parts.items()
        for field in dataclasses.fields(settings)
        if field.name != "name"
    }


def facts(root: Path = ROOT) -> dict[str, dict[str, str]]:
    """What others used, by key: the columns paper, released and source."""
    return {row["key"]: row for row in _rows(root / FACTS)}


def origins(root: Path = ROOT) -> dict[str, str]:
    """What each word that a setting may name as its origin stands for."""
    return {row["origin"]: row["source"] for row in _rows(root / ORIGINS)}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def text(value: Any) -> str:
    """A value as a person writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def lines(root: Path = ROOT) -> Iterator[str]:
    """The table, one line per setting in the order of the settings classes."""
    known = facts(root)
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"| {' | '.join('---' for _ in COLUMNS)} |"
    for key, field in settings_by_key().items():
        fact = known.get(key, {})
        rule = field.metadata
        told = [fact.get(column, "") for column in ("paper", "released")]
        cells = (f"`{key}`", text(field.default), *told, rule["unit"], rule["origin"], fact.get("source", ""))
        yield f"| {' | '.join(cells)} |"


def render(root: Path = ROOT) -> str:
    """The whole file."""
    words = [f"* {word}: {source}" for word, source in origins(root).items()]
    return "\n".join([HEAD, *words, "", *lines(root), ""])


if __name__ == "__main__":
    (ROOT / TABLE).write_text(render(), encoding="utf-8")
    print(TABLE)
