"""Trains the evidence that is missing with the cores that are left, and records each run that has come to its end.

Runs give way to whatever else runs here. Their code is that of a commit in params.yaml, in a worktree below
runs/evidence/code. It can be stopped at any moment, and goes on where it was when it is started again; a run that fails
does not stop the others.
"""

import fcntl
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipeline.analysis.extent import TOTAL, so_far
from pipeline.config.params import Evidence, load_params
from pipeline.engines.batches import until_of, words_of
from pipeline.engines.engine import Engine, News, Task
from pipeline.engines.node import newest_checkpoint
from pipeline.engines.processes import dvc
from pipeline.engines.training import train_all
from pipeline.files import ROOT
from pipeline.runs.folder import Refused, State, state
from pipeline.runs.interruptions import Interruptions, birth
from pipeline.suites.evidence.cells import STAGES, Trained, is_recorded, read_cells, run_of, section
from pipeline.suites.evidence.progress import LOCK, holder_of
from pipeline.suites.evidence.status import told
from pipeline.suites.evidence.tree import checkout

NICE = 15  # of 19


def evidence(status: bool, engine: Engine) -> int | str:
    """0 when all is recorded; 1 if a run failed or is not; Stopped after a signal. With `status` only what is there."""
    if status:
        return told(engine.slots())
    wanted = section(load_params())
    with only_one(ROOT) as place:
        return launch(wanted, engine, place)


@contextmanager
def only_one(root: Path) -> Iterator[IO[str]]:
    """Holds the file that says who trains the evidence; Refused, with its process, if another one does."""
    path = root / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = holder_of(root)
            names = ", ".join(holder.get("runs", [])) or "no run yet"
            raise Refused(
                f"process {holder.get('process')} trains the evidence ({names}); stop it or leave it to it"
            ) from None
        say(file, [])
        yield file
        file.truncate(0)


def say(file: IO[str], running: Sequence[str]) -> None:
    """Writes which process holds the file, when it was born, and which runs it trains."""
    file.truncate(0)
    me = os.getpid()
    file.write(json.dumps({"process": me, "born": birth(me), "runs": list(running)}))
    file.flush()


def launch(evidence: Evidence, engine: Engine, place: IO[str]) -> int:
    """Configures, makes the worktrees, trains what is missing, records; the exit code."""
    os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    with Interruptions() as asked:
        code = dvc("repro", STAGES)
    if code:
        return 128 + asked.number if asked.number else 1
    cells = read_cells(evidence)
    record(cells)
    stale = {cell.name: cell for cell in cells if not is_done(cell)}
    trees = {commit: checkout(commit) for commit in {cell.commit for cell in stale.values()}}
    tasks = [task_of(cell, trees[cell.commit]) for cell in stale.values()]
    slots = min(engine.slots(), len(tasks)) if tasks else 0
    commits = " and ".join(dict.fromkeys(cell.commit[:10] for cell in cells))
    of = f"{len(cells)} runs of the evidence at scale {evidence.scale}, code of {commits}"
    print(f"{of}: {len(tasks)} to train, {slots} at a time", flush=True)
    failed, told = dict[str, str](), set[str]()

    def running_are(running: list[Task]) -> None:
        say(place, [task.name for task in running])
        for name in (task.name for task in running if task.name not in told):
            told.add(name)
            print(f"{name}: {way(stale[name])}", flush=True)

    def ended(news: News) -> None:
        if not news.code:
            record(cells)

    try:
        failed = train_all(tasks, engine, running_are, ended)
    finally:
        missing = sum(not is_recorded(cell) for cell in cells)
        counts = f"recorded {len(cells) - missing}, failed {len(failed)}, missing {missing - len(failed)}"
        print(counts, flush=True)
    return 1 if missing else 0


def task_of(cell: Trained, tree: Path) -> Task:
    """The run with the code in `tree`; what it says is in the log beside its folder."""
    run = run_of(cell)
    words = ["pipeline.train", *words_of([cell]), *until_of([cell]), "tracking=off"]
    words += [f"run_dir='{{root}}/{run.relative_to(ROOT)}'"]
    return Task([cell], tuple(words), (run,), run.parent / "log.txt", lambda _: is_done(cell), tree)


def is_done(cell: Trained) -> bool:
    """Whether it is recorded, or could be."""
    return is_recorded(cell) or state(run_of(cell), cell) is State.FINISHED


def record(cells: Sequence[Trained]) -> None:
    """Has DVC record what is finished and not recorded; where it cannot now, it is done with the next run."""
    waiting = any(not is_recorded(cell) and is_done(cell) for cell in cells)
    if waiting and dvc("repro", "--force", "--single-item", f"{STAGES}:records"):
        print("not recorded now, but with the next run, or by the same command", file=sys.stderr, flush=True)


def way(cell: Trained) -> str:
    """From where to where the cell goes, of how much."""
    total, run = cell.config["train"][TOTAL], run_of(cell)
    return f"from {newest_checkpoint([run]):,} to {so_far(cell.until or total, total)} env steps"
