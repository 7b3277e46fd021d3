"""The engine `slurm`: each task is one of an array that sbatch takes on, and goes on when who submitted it has ended.

Where tasks are is asked of squeue; whether one is done, of its folder. runs/.slurm has a folder for each array, and for
each task the array that it is in, so that the same command finds it there instead of submitting it twice.
"""

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.engines.engine import Engine, Need, News, State, Task
from pipeline.engines.fields import setting
from pipeline.engines.node import said_last
from pipeline.engines.processes import variables
from pipeline.files import ROOT, write_file, write_json
from pipeline.runs.ensure import shown
from pipeline.runs.folder import Refused
from pipeline.runs.interruptions import Stopped
from pipeline.runs.provenance import ENGINE as SENT_BY
from tom.settings.fields import SettingsError

PLACE = ROOT / "runs/.slurm"
WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
HELD = "launch failed"  # why a task is held that its node could not start, as after a loss of power
GRACE_S = 60.0  # for which a file of another machine may not be seen yet
Place = tuple[str, int]  # array, task


@dataclass(frozen=True)
class SlurmSettings:
    """What sbatch is told besides what a task needs."""

    partition: str | None = setting(None, str)
    account: str | None = setting(None, str)
    constraint: str | None = setting(None, str, unit="a processor for all: digits differ between two")
    minutes: int = setting(720, int, low=1, unit="min until a run is saved, stopped and queued again")
    warn_s: int = setting(120, int, low=1, unit="s before that for saving")
    at_once: int = setting(200, int, low=1, unit="tasks")
    restarts: int = setting(50, int, low=0, unit="times that one is queued again")
    options: tuple[str, ...] = setting((), tuple, unit="more words for sbatch")


class Slurm(Engine):
    """Plain sbatch arrays. A run that meets its time limit is saved before and queued again; so is a preempted one."""

    name, Settings, look_s, outlives = "slurm", SlurmSettings, 3.0, True
    settings: SlurmSettings

    def __init__(
        self, settings: SlurmSettings | None = None, need: Need | None = None, jobs: int | None = None
    ) -> None:
        super().__init__(settings, need, jobs)
        if self.gpus % 1:
            raise SettingsError(f"cell.gpus={self.gpus:g}: Slurm gives whole GPUs; nearest valid choice: 1")
        if self.settings.warn_s >= 60 * self.settings.minutes:
            raise SettingsError(
                f"slurm.warn_s={self.settings.warn_s}: that is all of slurm.minutes={self.settings.minutes}; nearest "
                f"valid value: {60 * self.settings.minutes - 1}"
            )
        if not shutil.which("sbatch"):
            raise SettingsError("engine=slurm: there is no sbatch here; start it where jobs are submitted")
        self._places, self._news, self._gone = dict[Task, Place](), dict[Task, News](), dict[Task, float]()
        self._nodes, self._silent = dict[Task, str](), False

    def slots(self) -> int:
        words = ["sinfo", "--noheader", "--responding", "--format=%P %a %D %c %l %G"]
        words += [f"--partition={self.settings.partition}"] if self.settings.partition else []
        rows = [line.split() for line in _said(words).splitlines()]
        up = [row for row in rows if row[1] == "up" and (self.settings.partition or row[0].endswith("*"))]
        there = sum(int(nodes) * self._room(int(cpus.rstrip("+")), gres) for _, _, nodes, cpus, _, gres in up)
        if not there:
            what = "GPU on a node" if self.gpus else "node"
            raise Refused(f"slurm.partition={self.settings.partition or 'the default one'} has no {what} that answers")
        limit = min(_minutes(row[4]) for row in up)
        if self.settings.minutes > limit:
            most = f"{up[0][0].rstrip('*')} lets a job run for {limit:.0f}"
            raise SettingsError(f"slurm.minutes={self.settings.minutes}: {most}; nearest valid value: {limit:.0f}")
        return min(there, self.settings.at_once, self.jobs or there)

    def _room(self, cpus: int, gres: str) -> int:
        """How many tasks a node with these generic resources has cores and GPUs for."""
        gpus = sum(map(int, re.findall(r"gpu(?::[^:,(]+)?:(\d+)", gres)))
        return min(cpus // self.need.cpus, int(gpus / self.gpus) if self.gpus else cpus)

    def begin(self, tasks: Sequence[Task]) -> None:
        self.leave(tasks)

    def leave(self, tasks: Sequence[Task]) -> None:
        there = self._attach(tasks)
        new = [task for task in tasks if task not in self._places]
        limit = _largest_array() if new else 1
        for start in range(0, len(new), limit):
            self._submit(new[start : start + limit])
        print(f"{len(new)} submitted to Slurm, {len(there)} there already", flush=True)

    def look(self) -> Iterator[News]:
        queue = _queue()
        if queue is None:
            print("" if self._silent else "squeue does not answer; it is asked again\n", end="", flush=True)
            self._silent = True
            return
        self._silent = False
        for task, place in list(self._places.items()):
            state, where, why = queue.get(place, ("", "", ""))
            waits_or_runs = News(task, State.WAITS, why=why) if state in WAITING else News(task, State.RUNS, where)
            news = waits_or_runs if place in queue else self._ended(task, place)
            if news is None or news == self._news.get(task):
                continue
            self._news[task] = news
            self._nodes |= {task: news.where} if news.where else {}
            if HELD in news.why:
                self._release(task, place)
            if news.state is State.ENDED:
                del self._places[task]
                _record(task).unlink(missing_ok=True)
            yield news

    def stop(self, number: int) -> None:
        raise Stopped(
            number, "runs go on in Slurm's queue: the same command waits for them, and with --cancel ends them"
        )

    def cancel(self, tasks: Sequence[Task]) -> list[Task]:
        there = self._attach(tasks)
        if there:
            _said(["scancel", *(f"{job}_{index}" for job, index in self._places.values())])
        while any(place in queue for place in self._places.values()) if (queue := _queue()) is not None else there:
            time.sleep(1.0)
        for task in there:
            _record(task).unlink(missing_ok=True)
        return there

    def _release(self, task: Task, place: Place) -> None:
        """Lets a task that its node could not start go on, on another one."""
        job = f"{place[0]}_{place[1]}"
        for words in (["update", f"JobId={job}", f"ExcNodeList={self._nodes.get(task, '')}"], ["release", job]):
            subprocess.run(["scontrol", *words], capture_output=True, check=False)

    def _attach(self, tasks: Sequence[Task]) -> list[Task]:
        """Those of the tasks that are in the queue; Refused if it cannot be asked."""
        recorded = {}
        for task in tasks:
            if _record(task).is_file():
                known = json.loads(_record(task).read_text(encoding="utf-8"))
                recorded[task] = (known["job"], known["index"])
        queue = _queue() if recorded else {}
        if queue is None:
            raise Refused("squeue does not answer, and some runs may be in the queue; try again later")
        self._places = {task: place for task, place in recorded.items() if place in queue}
        return list(self._places)

    def _submit(self, tasks: Sequence[Task]) -> None:
        folder = PLACE / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{tasks[0].key}"
        ours = variables(**{SENT_BY: self.name}, **({} if self.gpus else {"CUDA_VISIBLE_DEVICES": ""}))
        files = [
            {
                **task.told(str),
                "root": str(ROOT),
                "variables": ours if task.tree == ROOT else {**ours, "PYTHONPATH": str(task.tree)},
                "restarts": self.settings.restarts,
            }
            for task in tasks
        ]
        write_json(folder / "tasks.json", files)
        words = [sys.executable, "-m", "pipeline.engines.slurm_task", str(folder)]
        deaf = "trap '' USR1"  # a warning would end Python before it listens
        script = f'#!/bin/bash\n{deaf}\nexec {shlex.join(words)} "$SLURM_ARRAY_TASK_ID"\n'
        write_file(folder / "job.sh", script.encode())
        job = _said(["sbatch", *self._options(len(tasks), folder), str(folder / "job.sh")]).partition(";")[0].strip()
        for index, task in enumerate(tasks):
            write_json(_record(task), {"job": job, "index": index, "folder": str(folder)})
            self._places[task] = (job, index)

    def _options(self, count: int, folder: Path) -> list[str]:
        mine, need = self.settings, self.need
        named = {name: getattr(mine, name) for name in ("partition", "account", "constraint")}
        return [
            "--parsable",
            f"--array=0-{count - 1}%{min(mine.at_once, self.jobs or mine.at_once)}",
            "--job-name=tom",
            "--ntasks=1",
            f"--cpus-per-task={need.cpus}",
            f"--mem={math.ceil(1024 * need.memory_gb)}M",
            f"--time={mine.minutes}",
            f"--signal=B:USR1@{mine.warn_s}",
            "--requeue",
            "--open-mode=append",
            f"--output={folder}/%a.out",
            f"--chdir={ROOT}",
            *([f"--gres=gpu:{self.gpus:g}"] if self.gpus else []),
            *(f"--{name}={value}" for name, value in named.items() if value),
            *mine.options,
        ]

    def _ended(self, task: Task, place: Place) -> News | None:
        """Of a task that has left the queue; None as long as its files may still come."""
        folder = Path(json.loads(_record(task).read_text(encoding="utf-8"))["folder"])
        code = folder / f"{place[1]}.code"
        if all(map(task.is_made, task.cells)):
            return News(task, State.ENDED, line=said_last(task.log, task.name, 0, shown(task.log)))
        since = self._gone.setdefault(task, time.monotonic())
        if not code.is_file() and time.monotonic() - since < GRACE_S:
            return None
        if not code.is_file():
            gone = f"{task.name}: its job is gone, killed perhaps or lost with its node; see {shown(folder)}"
            return News(task, State.ENDED, code=1, line=gone)
        ended = int(code.read_text(encoding="ascii")) or 1
        return News(task, State.ENDED, code=ended, line=said_last(task.log, task.name, ended, shown(task.log)))


ENGINE = Slurm


def _queue() -> dict[Place, tuple[str, str, str]] | None:
    """State, node and reason of each task of this user's arrays; None if Slurm does not answer."""
    words = ["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%F|%K|%T|%N|%r"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    rows = [line.split("|") for line in done.stdout.splitlines()]
    return {(row[0], int(row[1])): (row[2], row[3], row[4]) for row in rows if row[1].isdecimal()}


def _minutes(text: str) -> float:
    """Of a limit as Slurm writes it: days-hours:minutes:seconds, or infinite."""
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":") if part.isdecimal()]
    if not parts:
        return math.inf
    hours, minutes, seconds = [0, 0, 0, *parts][-3:]
    return 1440 * int(days or 0) + 60 * hours + minutes + seconds / 60


def _largest_array() -> int:
    config = _said(["scontrol", "show", "config"]).splitlines()
    found = [line.partition("=")[2] for line in config if "MaxArraySize" in line]
    return max(1, int(found[0]) - 1) if found else 1000


def _said(words: Sequence[str]) -> str:
    """What one of Slurm's programs says; Refused, in its words, if it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"{words[0]}: {' '.join(done.stderr.split()) or f'ended with code {done.returncode}'}")
    return done.stdout


def _record(task: Task) -> Path:
    return PLACE / "tasks" / f"{task.key}.json"
