"""Every column of a run's tables is explained on the page, and the page explains none that does not exist."""

import csv
import re
from pathlib import Path

from pipeline.files import ROOT
from pipeline.runs.records import EVALS, TIMING
from tom.backbones import maac, moto, planner
from tom.weightings import ampl, tom

PAGE = ROOT / "pipeline/runs/README.md"
AGES = re.compile(r"weights/age_[0-9]$")


def explained() -> set[str]:
    table = PAGE.read_text().partition("## Columns")[2].partition("## ")[0]
    cells = [line.split(" | ")[1] for line in table.splitlines() if line.startswith("| ")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def recorded() -> set[str]:
    names = set[str]()
    for path in [*ROOT.glob("reports/results/*/*/*/*/*.csv"), *ROOT.glob("reports/evidence/*/*/*/*.csv")]:
        with path.open(newline="", encoding="utf-8") as file:
            names |= set(next(csv.reader(file)))
    return names


def test_every_column_is_explained() -> None:
    known = explained()
    names = recorded() | {*EVALS, *TIMING} | {f"weighting/{name}" for name in (*tom.NUMBERS, *ampl.OWN)}
    names |= {f"policy/{name}" for part in (maac, moto, planner) for name in numbers_of(part)}
    assert sorted({AGES.sub("weights/age_k", name) for name in names} - known) == []
    assert len(known) > 40


def numbers_of(part: object) -> set[str]:
    """What the agents of a backbone say they log."""
    classes = [value for value in vars(part).values() if isinstance(value, type)]
    return {name for each in classes for name in getattr(each, "numbers", ())}


def test_what_is_explained_is_logged_somewhere() -> None:
    code = " ".join(
        path.read_text() for folder in ("tom", "pipeline/runs") for path in Path(ROOT / folder).rglob("*.py")
    )
    for name in explained() - {"weights/age_k"}:
        assert f'"{name.rpartition("/")[2]}"' in code or f"{name.rpartition('/')[2]}=" in code, name
