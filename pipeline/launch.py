"""Trains what is stale of a suite or of the grid on an engine, then records it and makes tables and figures.

A run that fails does not stop the others; what is finished stays finished, so the same command goes on after a stop.
"""

import sys
from collections.abc import Sequence
from functools import partial

from pipeline.analysis.extent import TOTAL, so_far
from pipeline.claims.needed import Runs
from pipeline.config.edit import edit_params
from pipeline.config.params import Params, load_params
from pipeline.config.refusals import NOWHERE, one_of
from pipeline.engines.batches import batched
from pipeline.engines.engine import Engine, Task, task_of
from pipeline.engines.estimate import in_words, lanes, longest_first, makespan, unknown
from pipeline.engines.processes import dvc
from pipeline.engines.training import train_all
from pipeline.files import ROOT
from pipeline.plan import grid_of, needed, runs_of
from pipeline.runs.folder import Cell
from pipeline.suites.returns.cells import RETURNS
from pipeline.suites.returns.work import NO_TRAINING
from pipeline.suites.suite import Launched, kinds
from tom.settings.fields import SettingsError

ANEW = " (make repro FRESH=1 trains the grid anew in studies/fresh and compares)"


def repro(
    suite: str | None,
    claims: Sequence[str],
    scale: str | None,
    until: str | None,
    engine: Engine,
    wait: bool,
    cancel: bool,
) -> int:
    """Launches what claims need, or else the suite with this name, or the grid. The exit code.

    What claims need, or scale and until, are written into params.yaml first.
    """
    if runs := needed(claims, suite=suite, scale=scale, until=until):
        return decide(runs, engine, wait, cancel)
    suites = kinds()
    kind: Launched = suites[one_of("suite", suite, suites)] if suite else RETURNS
    if (engine.need.batch or 1) > 1 and not kind.trains_runs:
        raise SettingsError(f"batch={engine.need.batch}: the suite {suite} trains one seed at a time; leave batch out")
    refuse_flags(engine, wait, cancel)
    params = load_params()
    now = kind.scale(params)
    one_of("scale", scale or now, params.scales)
    if scale not in (None, now) or until is not None:
        scale = scale if scale != now else None
        params = edit_params(ROOT, scale, until, suite or "", check=partial(refuse_params, kind, engine))
    return launch(kind, params, engine, wait, cancel)


def decide(runs: Runs, engine: Engine, wait: bool, cancel: bool) -> int:
    """Makes scale and grid in params.yaml those of the runs that claims need, and launches them. The exit code."""
    refuse_flags(engine, wait, cancel)
    kind: Launched = kinds()[runs.suite] if runs.suite else RETURNS
    until = None if runs.suite else NOWHERE
    grid, check = grid_of(runs, load_params()), partial(refuse_params, kind, engine)
    params = edit_params(ROOT, runs.scale, until, runs.suite, grid, check)
    return launch(kind, params, engine, wait, cancel)


def refuse_flags(engine: Engine, wait: bool, cancel: bool) -> None:
    """SettingsError for what means something only where runs outlive their command."""
    if not engine.outlives and (cancel or not wait):
        engines = f"engine={engine.name}: its runs end with their command"
        raise SettingsError(f"{engines}; nearest valid choice: {'^C there' if cancel else 'leave --no-wait out'}")


def refuse_params(suite: Launched, engine: Engine, params: Params) -> None:
    """SettingsError for what cannot be combined; that, or Refused, where the engine cannot train it."""
    configurable(suite, params, engine)
    engine.slots()


def configurable(suite: Launched, params: Params, engine: Engine) -> None:
    """SettingsError for what cannot be combined; the engine is told where the suite's cells train."""
    suite.cell_files(params, ROOT)
    if not suite.trains_runs:  # what its cells train, they train there
        engine.use_cpus()


def launch(suite: Launched, params: Params, engine: Engine, wait: bool = True, cancel: bool = False) -> int:
    """Configures, trains what is not there, records, and prints what became of it; the exit code.

    Without `wait` it ends when the engine has taken the tasks on; with `cancel` it ends those that train instead.
    """
    configurable(suite, params, engine)  # before DVC starts
    if dvc("repro", suite.configured):
        return 1
    cells = suite.cells(params)
    runs, missing = runs_of(suite, cells)
    stale = [run for run in missing if not suite.is_made(run)]
    tasks = tasks_of(suite, stale, engine)
    if cancel:
        ended = engine.cancel(tasks)
        print(*(f"{task.name}: cancelled" for task in ended), f"cancelled {len(ended)} of {len(tasks)}", sep="\n")
        return 0
    tasks = longest_first(tasks, engine) if suite.trains_runs else tasks
    print(told(suite, params, runs, stale, tasks, engine), flush=True)
    if not missing:
        print(f"recorded results of all {len(cells)} found; nothing to train{'' if suite.name else ANEW}", flush=True)
    if not wait:
        engine.leave(tasks)
        print("left to themselves; the same command without --no-wait waits for them and records")
        return 0
    failed = train_all(tasks, engine)
    if changed := [run.name for run in stale if run.name not in failed and not suite.is_made(run)]:
        print(
            f"params.yaml or the code changed while {changed[0]} trained; run the same command again", file=sys.stderr
        )
    codes = [dvc("repro", "--keep-going", *words, **{NO_TRAINING: "1"}) for words in suite.recording]
    summarise(suite, cells, failed)
    return 1 if failed or any(codes) else 0


def tasks_of(suite: Launched, stale: Sequence[Cell], engine: Engine) -> list[Task]:
    """What has to be trained, and that it is on a device that the engine gives it, wherever it goes on."""
    if not (stale and suite.trains_runs):
        return [task_of([cell], suite.command, suite.folder_of, suite.is_made) for cell in stale]
    device = f"device={'cuda' if engine.gpus else 'cpu'}"
    batches = batched(stale, engine.batch or len(stale))
    return [task_of(each, lambda b: [*suite.command(b), device], suite.folder_of, suite.is_made) for each in batches]


def told(
    suite: Launched, params: Params, runs: Sequence[Cell], stale: Sequence[Cell], tasks: Sequence[Task], engine: Engine
) -> str:
    """How many runs there are, how many of them train, in which way, and for how long."""
    of = f" of the suite {suite.name}" if suite.name else ""
    said = f"{len(runs)} runs{of} at scale {suite.scale(params)}{stops(runs)}: {len(stale)} to train"
    if not tasks:
        return said
    slots, together = min(engine.slots(), len(tasks)), len(tasks[0].cells)
    said += f", {slots} at a time{f' with {together} seeds each' if together > 1 else ''} on {engine.name}"
    hours = in_words(makespan([task.seconds for task in tasks], lanes(slots, engine)))
    return f"{said}, about {hours}{unknown(engine)}" if suite.trains_runs else said


def stops(cells: Sequence[Cell]) -> str:
    """Where runs stop for now, in words that follow the scale; empty if none does."""
    found = {cell.env: so_far(cell.until, cell.config["train"][TOTAL]) for cell in cells if cell.until is not None}
    return f", as far as {', '.join(f'{env} {words}' for env, words in found.items())} env steps" if found else ""


def summarise(suite: Launched, cells: Sequence[Cell], failed: dict[str, str]) -> None:
    """Prints a line for every cell that is not recorded, the counts, and where the tables and figures are.

    A cell failed if one of its runs did.
    """
    missing = [cell for cell in cells if not suite.is_recorded(cell)]
    why = ["; ".join(failed[run.name] for run in suite.runs(cell) if run.name in failed) for cell in missing]
    for cell, reasons in zip(missing, why, strict=True):
        print(f"failed   {reasons}" if reasons else f"not run  {cell.name}")
    count = sum(map(bool, why))
    print(f"done {len(cells) - len(missing)}, failed {count}, not run {len(missing) - count}")
    if not missing:
        print("tables in reports/tables, figures in reports/figures")
