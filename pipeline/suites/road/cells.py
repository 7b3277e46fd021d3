"""What decides Figure 2, its resolved settings and the code it uses, as one file: reports/cells/road.json.

The second world has one of its own, reports/cells/gorge.json, so that an edit of it leaves the first as it is.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.config.digests import module_digests, source_digest
from pipeline.config.fingerprint import decisive
from pipeline.config.params import Params
from pipeline.files import ROOT, as_json
from pipeline.suites.road.jobs import Job, gorge_jobs
from tom.settings import KINDS

CELL, GORGE_CELL = Path("reports/cells/road.json"), Path("reports/cells/gorge.json")
WORK = ("pipeline.suites.road.work", "tom.experiments.road_and_rocks")


def content(wanted: Sequence[Job], work: Sequence[str] = WORK, root: Path = ROOT) -> str:
    """The file's text: every job, and the digests of the files that they and the modules `work` use."""
    parts = {f"{KINDS[kind]}.{getattr(job.agent, kind).name}" for job in wanted for kind in KINDS}
    sources = module_digests([*work, *(f"tom.{p}" for p in parts), *(f"tom.settings.{p}" for p in parts)], root)
    return as_json({"jobs": described(wanted), "source_digest": source_digest(sources), "sources": sources})


def gorge_content(params: Params, root: Path = ROOT) -> str:
    """The text of GORGE_CELL."""
    return content(gorge_jobs(params), (*WORK, "pipeline.suites.road.gorge"), root)


def described(wanted: Sequence[Job]) -> list[Any]:
    """The values that decide the numbers of each job."""
    found: list[Any] = decisive([dataclasses.asdict(job) for job in wanted])
    return found
