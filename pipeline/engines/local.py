"""The engine `local`: several processes on this machine."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from pipeline.engines.engine import Engine, Need, News, State, Task
from pipeline.engines.node import said_last, started
from pipeline.engines.processes import variables
from pipeline.files import ROOT, cores
from pipeline.runs.ensure import shown
from pipeline.runs.provenance import ENGINE as SENT_BY
from tom.settings.fields import SettingsError


class Local(Engine):
    """Processes with one thread each; of several GPUs each process sees the one that fewest others use."""

    name = "local"

    def __init__(self, settings: object = None, need: Need | None = None, jobs: int | None = None) -> None:
        super().__init__(settings, need, jobs)
        self._waiting, self._running = list[Task](), dict[Task, subprocess.Popen[bytes]]()
        self._on: dict[Task, str] = {}

    @property
    def gpus(self) -> float:
        return (1 if gpus_here() else 0) if self.need.gpus is None else self.need.gpus

    def gpu(self) -> str:
        return gpu_model() if self.gpus and gpus_here() else ""

    def slots(self) -> int:
        room = self.jobs or max(1, cores() // self.need.cpus)
        if not self.gpus:
            return room
        if not (there := gpus_here()):
            raise SettingsError(f"cell.gpus={self.gpus:g}: there is no GPU here; nearest valid choice: 0")
        return min(room, len(there) * int(1 / self.gpus + 1e-9))

    def begin(self, tasks: Sequence[Task]) -> None:
        self._waiting, self._room = list(tasks), self.slots()

    def look(self) -> list[News]:
        done = {task: process for task, process in self._running.items() if process.poll() is not None}
        self._running = {task: process for task, process in self._running.items() if task not in done}
        news = [_ended(task, process.returncode) for task, process in done.items()]
        while self._waiting and len(self._running) < self._room:
            task = self._waiting.pop(0)
            self._running[task] = self._start(task)
            news.append(News(task, State.RUNS))
        return news

    def stop(self, number: int) -> None:
        self._waiting = []
        for process in self._running.values():
            process.send_signal(number)

    def _start(self, task: Task) -> "subprocess.Popen[bytes]":
        mine = variables(**{SENT_BY: self.name}, **({} if task.tree == ROOT else {"PYTHONPATH": str(task.tree)}))
        if not self.gpus:
            mine["CUDA_VISIBLE_DEVICES"] = ""
        else:
            used = [self._on[other] for other in self._running]
            self._on[task] = min(gpus_here(), key=used.count)
            mine["CUDA_VISIBLE_DEVICES"] = self._on[task]
        process = started(task.words, task.tree, ROOT, task.log, mine)
        give_way(process.pid)
        return process


ENGINE = Local


@cache
def gpus_here() -> tuple[str, ...]:
    """The GPUs that a process started here may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch  # takes a second

    count, named = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return tuple(named.split(",")[:count]) if named else tuple(map(str, range(count)))


@cache
def gpu_model() -> str:
    """Of the first of them; asked in a process of its own, since who asks keeps memory there."""
    asked = [sys.executable, "-c", "import torch; print(torch.cuda.get_device_name())"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def give_way(process: int) -> None:
    """Makes the session that a process leads as nice as the process is, where Linux shares cores between sessions.

    There a nice process of one terminal gets as much as all processes of another one together (sched(7), autogroup).
    """
    with suppress(OSError):  # elsewhere there is no such file
        Path(f"/proc/{process}/autogroup").write_text(str(os.getpriority(os.PRIO_PROCESS, process)), encoding="ascii")


def _ended(task: Task, code: int) -> News:
    return News(task, State.ENDED, code=code, line=said_last(task.log, task.name, code, shown(task.log)))
