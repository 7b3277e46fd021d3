"""Trains what is stale of a suite or of the grid, several runs at a time, then records it and makes tables and figures.

A run that fails does not stop the others; what is finished stays finished, so the same command goes on after a stop.
"""

import sys
from collections.abc import Sequence

from pipeline.analysis.extent import TOTAL, so_far
from pipeline.config.edit import edit_params
from pipeline.config.params import Params, load_params
from pipeline.config.refusals import one_of
from pipeline.engines.estimate import estimate_hours
from pipeline.engines.local import batched, gpus, train_all
from pipeline.engines.processes import dvc
from pipeline.files import ROOT
from pipeline.runs.folder import Cell
from pipeline.suites.returns.cells import RETURNS
from pipeline.suites.returns.work import NO_TRAINING
from pipeline.suites.suite import Launched, kinds
from tom.settings.fields import SettingsError


def reproduce(suite: str, scale: str | None, until: str | None, jobs: int, batch: int | None = None) -> int:
    """Launches the suite with this name, or the grid; writes scale and until into params.yaml first. The exit code."""
    suites = kinds()
    kind: Launched = suites[one_of("suite", suite, suites)] if suite else RETURNS
    if batch and not kind.trains_runs:
        raise SettingsError(f"batch={batch}: the suite {suite} trains one seed at a time; leave batch out")
    params = load_params()
    now = kind.scale(params)
    one_of("scale", scale or now, params.scales)
    if scale not in (None, now) or until is not None:
        params = edit_params(ROOT, scale if scale != now else None, until, suite)
    return launch(kind, params, jobs, batch)


def launch(suite: Launched, params: Params, jobs: int, batch: int | None = None) -> int:
    """Configures, trains what is not there, records, and prints what became of it; the exit code."""
    suite.cell_files(params, ROOT)  # refuses what cannot be combined, before DVC starts
    if dvc("repro", suite.configured):
        return 1
    cells = suite.cells(params)
    needed = [suite.runs(cell) for cell in cells]
    runs = [run for each in needed for run in each]
    missing = [each for cell, each in zip(cells, needed, strict=True) if not suite.is_recorded(cell)]
    stale = [run for each in missing for run in each if not suite.is_made(run)]
    device = ("cuda" if gpus() else "cpu") if stale and suite.trains_runs else ""
    batches = batched(stale, batch or (len(stale) if device == "cuda" else 1))  # there a kernel costs its launch
    of = f" of the suite {suite.name}" if suite.name else ""
    print(
        f"{len(runs)} runs{of} at scale {suite.scale(params)}{stops(runs)}: {len(stale)} to train", end="", flush=True
    )
    if batches:
        together = len(batches[0])
        print(f", {min(jobs, len(batches))} at a time", end=f" with {together} seeds each" if together > 1 else "")
        print(f", about {estimate_hours(stale, jobs)}" if suite.trains_runs else "", end="")
    print(flush=True)
    words = [f"device={device}"] if device else []
    failed = train_all(batches, jobs, lambda batch: [*suite.command(batch), *words], suite.is_made)
    if changed := [run.name for run in stale if run.name not in failed and not suite.is_made(run)]:
        print(
            f"params.yaml or the code changed while {changed[0]} trained; run the same command again", file=sys.stderr
        )
    codes = [dvc("repro", "--keep-going", *words, **{NO_TRAINING: "1"}) for words in suite.recording]
    summarise(suite, cells, failed)
    return 1 if failed or any(codes) else 0


def stops(cells: Sequence[Cell]) -> str:
    """Where runs stop for now, in words that follow the scale; empty if none does."""
    found = {cell.env: so_far(cell.until, cell.config["train"][TOTAL]) for cell in cells if cell.until is not None}
    return f", as far as {', '.join(f'{env} {words}' for env, words in found.items())} env steps" if found else ""


def summarise(suite: Launched, cells: Sequence[Cell], failed: dict[str, str]) -> None:
    """Prints a line for every cell that is not recorded, the counts, and where the tables and figures are."""
    missing = [cell for cell in cells if not suite.is_recorded(cell)]
    for cell in missing:
        print(f"{'failed ' if cell.name in failed else 'not run'}  {failed.get(cell.name, cell.name)}")
    not_run = len(missing) - len(failed)
    print(f"done {len(cells) - len(missing)}, failed {len(failed)}, not run {max(not_run, 0)}")
    if not missing:
        print("tables in reports/tables, figures in reports/figures")
