"""Trains the evidence that is missing with the cores that are left, and records each run that has come to its end.

Runs have one thread each and give way to whatever else runs. Their code is that of the commit in params.yaml, in a
worktree below runs/evidence/code. It can be stopped at any moment, and goes on where it was when it is started again; a
run that fails does not stop the others.
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
from pipeline.config.params import Params, load_params
from pipeline.engines.processes import dvc
from pipeline.files import ROOT
from pipeline.runs.folder import Refused, State, state
from pipeline.runs.interruptions import Interruptions, birth
from pipeline.suites.evidence import progress
from pipeline.suites.evidence.cells import STAGES, Trained, is_recorded, read_cells, run_of, section
from pipeline.suites.evidence.progress import LOCK, holder_of
from pipeline.suites.evidence.tree import checkout
from pipeline.suites.evidence.workers import Worker, train

NICE = 15  # of 19


def begun(jobs: int) -> int:
    """0 when all is recorded; 1 if a run failed or is not; 128 + N after signal N."""
    params = load_params()
    section(params)
    with only_one(ROOT) as place:
        return launch(params, jobs, place)


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


def say(file: IO[str], running: Sequence[Trained]) -> None:
    """Writes which process holds the file, when it was born, and what it trains."""
    file.truncate(0)
    me = os.getpid()
    file.write(json.dumps({"process": me, "born": birth(me), "runs": [cell.name for cell in running]}))
    file.flush()


def launch(params: Params, jobs: int, place: IO[str]) -> int:
    """Makes the worktree, configures, trains what is missing, records; the exit code."""
    evidence = section(params)
    os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    with Interruptions() as asked:
        tree = checkout(evidence.commit)
        if dvc("repro", STAGES):
            return 128 + asked.number if asked.number else 1
        cells = read_cells(evidence)
        record(cells)
        stale = [cell for cell in cells if not is_done(cell)]
        print(
            f"{len(cells)} runs of the evidence at scale {evidence.scale}, code of {evidence.commit[:10]}: "
            f"{len(stale)} to train, {min(jobs, len(stale))} at a time",
            flush=True,
        )
        told, failed = list[Trained](), list[str]()

        def running_are(running: list[Trained]) -> None:
            say(place, running)
            for cell in (cell for cell in running if cell not in told):
                told.append(cell)
                print(f"{cell.name}: {way(cell)}", flush=True)

        def ended(worker: Worker) -> None:
            code, line = worker.process.returncode, worker.last_line()
            if code and asked.number is None:
                failed.append(line)
            if not code:
                record(cells)
            print(f"{'FAILED ' if code and asked.number is None else ''}{line}", flush=True)

        train(stale, jobs, tree, asked, running_are, ended)
    missing = [cell.name for cell in cells if not is_recorded(cell)]
    print(
        f"recorded {len(cells) - len(missing)}, failed {len(failed)}, missing {len(missing) - len(failed)}", flush=True
    )
    if asked.number is not None:
        print("stopped; the same command goes on", file=sys.stderr)
        return 128 + asked.number
    return 1 if missing else 0


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
    return f"from {progress.begun(run):,} to {so_far(cell.until or total, total)} env steps"
