"""DVC stage `configure_road`: what decides Figure 2, its resolved settings and the code it uses, as one file.

`python -m pipeline.road.configure` writes reports/cells/road.json. The training depends on this file alone, so that an
edit in tom/ or params.yaml makes it stale only where it reaches Figure 2.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.checks import one_line
from pipeline.fingerprint import decisive
from pipeline.params import ROOT, load_params
from pipeline.road.settings import Job, jobs
from pipeline.sources import module_digests, source_digest
from pipeline.swap import as_json, write_file
from tom.settings import KINDS
from tom.settings.fields import SettingsError

CELL = Path("reports/cells/road.json")


def content(wanted: Sequence[Job], root: Path = ROOT) -> str:
    """The file's text: every job, and the digests of the files that they use."""
    parts = {f"{KINDS[kind]}.{getattr(job.agent, kind).name}" for job in wanted for kind in KINDS}
    sources = module_digests(["tom.road", *(f"tom.{p}" for p in parts), *(f"tom.settings.{p}" for p in parts)], root)
    described = decisive([dataclasses.asdict(job) for job in wanted])
    found = {"jobs": described, "source_digest": source_digest(sources), "sources": sources}
    return as_json(found)


def main() -> int:
    """0; exit code 2 and one sentence for a fault in params.yaml."""
    try:
        text = content(jobs(load_params()))
    except SettingsError as error:
        print(one_line(error), file=sys.stderr)
        return 2
    write_file(ROOT / CELL, text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
