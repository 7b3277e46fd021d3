"""Brings the recorded runs and the report to W&B.

Uploads, from their CSVs, the recorded runs that are not there yet, or not as far, then creates the report or updates
it. Trains nothing, and a second time uploads nothing. Without an account it writes offline runs and the report's
specification to runs/publish/ and says what to do. The account is W&B's own business: WANDB_API_KEY or `wandb login`;
the project is WANDB_ENTITY and WANDB_PROJECT.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pipeline.files import RESTORE, here, write_file
from pipeline.report import dashboard
from pipeline.runs.folder import FILES, Refused, changed, provenance
from pipeline.runs.in_wandb import PROJECT, description, mode, opened, quieten
from pipeline.runs.records import rows_so_far
from pipeline.suites.evidence.cells import Trained

SPECIFICATION = Path("runs") / "publish" / "report.json"
OFFLINE = SPECIFICATION.with_name("wandb")
TIMEOUT_S = 30
DONE = "finished"  # what W&B calls a run whose upload came to its end
PLACE = ("scale", "method", "env", "seed")


@dataclass(frozen=True)
class Recorded(Trained):
    """A recorded run, and where it is."""

    folder: Path = Path()


def recorded(root: Path) -> list[Recorded]:
    """Every run below reports/results; ValueError names a folder there that is none, or a changed file."""
    found = []
    for folder in sorted(path for path in (root / "reports" / "results").glob("*/*/*/*") if path.is_dir()):
        made = provenance(folder)
        if not made:
            raise ValueError(f"{folder} is not a recorded run: it lacks one of {', '.join(FILES)}")
        for name in sorted(changed(folder, made)):
            raise ValueError(f"{folder / name} is not the file that was recorded: {RESTORE}")
        values: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
        names = {key: values.pop(key) for key in PLACE}
        digest, identity = made["source_digest"], made["fingerprint"]
        found.append(Recorded(**names, config=values, source_digest=digest, identity=identity, folder=folder))
    return found


def uploaded(api: Any, path: str) -> dict[str, int]:
    """The rows of the runs whose upload came to its end, by id; empty if there is no such project yet."""
    try:
        return {run.id: run.historyLineCount for run in api.runs(path, per_page=200) if run.state == DONE}
    except ValueError as error:  # how the library says it of a project
        if "Could not find project" in str(error):
            return {}
        raise


def write_run(run: Recorded, folder: str | Path, **how: Any) -> None:
    """One run's rows in W&B, as the training would have written them; its files are below the folder.

    One that breaks off online goes on the next time: W&B drops the rows that it has, by their number.
    """
    sent = opened(run, folder, **how)
    for step, (env_steps, numbers) in enumerate(rows_so_far(run.folder)):
        sent.log({**numbers, "env_steps": env_steps}, step=step)
    sent.finish(exit_code=0)


def save_report(api: Any, root: Path, entity: str, project: str) -> str:
    """Creates the report, or replaces the contents of the one of that title, and returns its address."""
    report = dashboard.build(root, entity, project)
    same = [found.id for found in api.reports(f"{entity}/{project}") if found.display_name == dashboard.TITLE]
    if same:
        report.id = same[0]
    report.save()
    return str(report.url)


def offline(said: str, runs: Sequence[Recorded], root: Path, dry_run: bool) -> int:
    """Writes the runs and the report's specification here, unless it is a dry run, and says what to do."""
    why = f"WANDB_MODE={said}" if "WANDB_MODE" in os.environ else "no W&B account here"
    print(f"{why}: {len(runs)} recorded runs and the report would be uploaded after `wandb login`")
    if dry_run:
        return 0
    target = root / SPECIFICATION
    specification = json.loads(dashboard.build(root)._to_model().model_dump_json(by_alias=True, exclude_none=True))
    write_file(target, (json.dumps(specification, indent=1) + "\n").encode())
    print(f"wrote {target}: the report's specification, as W&B would be sent it")
    shutil.rmtree(root / OFFLINE, ignore_errors=True)
    for run in runs:
        write_run(run, target.parent, mode="offline")
    print(f"wrote {len(runs)} offline runs: wandb leet {OFFLINE} shows them in the terminal")
    print("with an account: wandb login; WANDB_ENTITY=you tom publish")
    return 0


def publish(root: Path, dry_run: bool) -> int:
    """Does it, or lists what it would do; exit status."""
    runs = recorded(root)
    if (said := mode()) != "online":
        return offline(said, runs, root, dry_run)
    import wandb

    api = wandb.Api(timeout=TIMEOUT_S)
    entity = os.environ.get("WANDB_ENTITY") or str(api.default_entity)
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    there = uploaded(api, f"{entity}/{project}")
    missing = [run for run in runs if there.get(description(run)["id"], -1) < len(rows_so_far(run.folder))]
    print(f"{entity}/{project}: {len(runs) - len(missing)} of {len(runs)} recorded runs are there")
    for run in missing:
        print(f"{'would upload' if dry_run else 'uploads'} {description(run)['id']}", flush=True)
        if not dry_run:
            with tempfile.TemporaryDirectory() as folder:
                write_run(run, folder, mode="online", entity=entity)
    saved = "" if dry_run else save_report(api, root, entity, project)
    print(f"would save the report “{dashboard.TITLE}”" if dry_run else f"report: {saved}")
    return 0


def published(dry_run: bool) -> int:
    """The same, with W&B told to be quiet; Refused with one line if it or a file refused."""
    quieten()
    try:
        return publish(here(), dry_run)
    except Exception as error:  # wandb raises many kinds, its own and the network's
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise Refused(f"publish: {said}; run it again") from error
