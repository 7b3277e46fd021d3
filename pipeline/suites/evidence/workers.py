"""Processes that train runs one after the other, several at a time, and end together when they are asked to."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.engines.local import said_last
from pipeline.engines.processes import environment
from pipeline.runs.interruptions import LOOK_S, Interruptions
from pipeline.suites.evidence.cells import Trained, run_of


@dataclass(frozen=True)
class Worker:
    """One run in a process of its own."""

    cell: Trained
    process: "subprocess.Popen[bytes]"
    log: Path

    def last_line(self) -> str:
        """What it said at its end."""
        return said_last(self.log, self.cell.name, self.process.returncode)


def begin(cell: Trained, tree: Path) -> Worker:
    """Starts the run with the code in `tree`; what it says is in the log beside its folder."""
    run = run_of(cell)
    log = run.parent / "log.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [f"method={cell.method}", f"env={cell.env}", f"seed={cell.seed}", f"scale={cell.scale}", "tracking=off"]
    words += [] if cell.until is None else [f"until={cell.until}"]
    command = [sys.executable, "-m", "pipeline.train", *words, f"run_dir='{os.path.relpath(run, tree)}'"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=tree,
            env=environment(PYTHONPATH=str(tree)),
            stdout=output,
            stderr=output,
            start_new_session=True,  # a terminal's ^C reaches the launcher alone, which passes it on once
        )
    give_way(process.pid)
    return Worker(cell, process, log)


def give_way(process: int) -> None:
    """Makes the session that a process leads as nice as the process is, where Linux shares cores between sessions.

    There a nice process of one terminal gets as much as all processes of another one together (sched(7), autogroup).
    """
    with suppress(OSError):  # elsewhere there is no such file
        Path(f"/proc/{process}/autogroup").write_text(str(os.getpriority(os.PRIO_PROCESS, process)), encoding="ascii")


def train(
    cells: Sequence[Trained],
    jobs: int,
    tree: Path,
    asked: Interruptions,
    running_are: Callable[[list[Trained]], None],
    ended: Callable[[Worker], None],
) -> None:
    """Trains the cells in their order, `jobs` at a time; a signal is passed on once, and nothing begins after it.

    `running_are` is called with those that train whenever they are others, `ended` with each that came to an end.
    """
    waiting, running, passed_on = list(cells), list[Worker](), False
    while running or (waiting and asked.number is None):
        before = len(waiting), len(running)
        while waiting and len(running) < jobs and asked.number is None:
            running.append(begin(waiting.pop(0), tree))
        if asked.number is not None and not passed_on:
            passed_on = True
            for worker in running:
                worker.process.send_signal(asked.number)
        done = [worker for worker in running if worker.process.poll() is not None]
        running = [worker for worker in running if worker not in done]
        if done or (len(waiting), len(running)) != before:
            running_are([worker.cell for worker in running])
        for worker in done:
            ended(worker)
        if not done:
            time.sleep(LOOK_S)
