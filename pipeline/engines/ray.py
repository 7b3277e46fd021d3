"""The engine `ray`: each task on a node of a Ray cluster, and again on another one if that is lost.

Ray ends a driver's process when its head is gone, and may when it is not, so the driver is a process of its own
(ray_driver.py), which ends with this one and is started again for what is left as long as the head answers. Ray is
imported there alone, and installed by the extra [ray].
"""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from pipeline.engines.engine import Engine, Need, News, State, Task
from pipeline.engines.fields import setting
from pipeline.engines.processes import variables
from pipeline.files import ROOT
from pipeline.runs.folder import Refused
from pipeline.runs.provenance import ENGINE as SENT_BY
from tom.settings.fields import SettingsError

INSTALL = "pip install -c constraints.txt -e '.[ray]'"
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
CLOSING_S = 150.0  # s: a run may be in a long step before it saves
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


@dataclass(frozen=True)
class RaySettings:
    """Which cluster, and what its nodes have in common."""

    address: str | None = setting(None, str, unit="of the head; null: a cluster of this machine, for this command")
    shared: bool = setting(True, bool, unit="whether all nodes see this folder under this path")
    store: str | None = setting(None, str, unit="an fsspec URL for checkpoints, where nothing is shared")
    store_every_s: float = setting(600.0, float, low=1, unit="s")
    retries: int = setting(20, int, low=0, unit="times that a task goes on elsewhere, or the driver is started again")
    constraint: str | None = setting(None, str, unit="a custom resource of the nodes that may train")
    token: bool = setting(True, bool, unit="whether a cluster that asks for none is refused")


class Ray(Engine):
    """Tasks of a Ray job. A task that is interrupted, or lost with its node, goes on elsewhere."""

    name, Settings = "ray", RaySettings
    settings: RaySettings

    def __init__(self, settings: Any = None, need: Need | None = None, jobs: int | None = None) -> None:
        super().__init__(settings, need, jobs)
        if find_spec("ray") is None:
            raise SettingsError(f"engine=ray: Ray is not installed; {INSTALL} brings it")
        if (address := self.settings.address) and self.settings.token and not _has_token():
            raise SettingsError(
                f"ray.address={address}: there is no token, so that everybody who reaches the cluster may run anything "
                "there; set RAY_AUTH_MODE=token and `ray get-auth-token --generate`, or -o ray.token=false"
            )
        if self.settings.store and self.settings.shared:
            raise SettingsError(f"ray.store={self.settings.store}: nodes share runs/; valid choice: ray.shared=false")
        self._tasks: dict[str, Task] = {}
        self._slots: int | None = None
        self._driver: subprocess.Popen[str] | None = None
        self._lines: SimpleQueue[str | None] = SimpleQueue()

    def slots(self) -> int:
        if self._slots is None:
            self._start({})
            line = self._lines.get()
            self.close()
            if line is None:
                raise Refused(f"ray.address={self.settings.address or 'null'} does not answer")
            self._slots = int(json.loads(line)["slots"])
        if not self._slots:
            raise Refused("Ray's nodes have no room for a run: cell.cpus, cell.gpus, cell.memory_gb")
        return min(self._slots, self.jobs or self._slots)

    def begin(self, tasks: Sequence[Task]) -> None:
        self._tasks, self._stopping, self._restarts = {task.key: task for task in tasks}, False, 0
        self._start(self._tasks)

    def look(self) -> Iterator[News]:
        while True:
            try:
                line = self._lines.get_nowait()
            except Empty:
                return
            if line is None and (self._stopping or not self._tasks):
                for task in self._tasks.values():
                    yield News(task, State.ENDED, code=1, line=f"{task.name}: stopped")
                return
            if line is None:
                self._start_again()
                return
            found = json.loads(line)
            if "slots" in found:
                self._answers = True
            else:
                state, key = State[found.pop("state")], found.pop("key")
                yield News(self._tasks.pop(key) if state is State.ENDED else self._tasks[key], state, **found)

    def stop(self, number: int) -> None:
        self._stopping = True
        if self._driver:
            self._driver.terminate()

    def close(self) -> None:
        if self._driver is None:
            return
        assert self._driver.stdin
        self._driver.stdin.close()  # its end
        try:
            self._driver.wait(CLOSING_S)
        except subprocess.TimeoutExpired:
            self._driver.kill()
            self._driver.wait()
        self._driver = None

    def _start_again(self) -> None:
        """For the tasks that are left; Refused if the last driver did not reach the head, or one too many has ended."""
        assert self._driver
        code, self._restarts = self._driver.wait(), self._restarts + 1
        if not self._answers or self._restarts > self.settings.retries:
            raise Refused(f"Ray's driver has ended with {code}, perhaps its head is gone; the same command goes on")
        print(f"Ray's driver has ended with {code}: another one goes on", file=sys.stderr, flush=True)
        self._start(self._tasks)

    def _start(self, tasks: Mapping[str, Task]) -> None:
        request = {
            **asdict(self.settings),
            "root": str(ROOT),
            "cpus": self.need.cpus,
            "gpus": self.gpus,
            "memory": int(self.need.memory_gb * 2**30),
            "jobs": self.jobs,
            "variables": {**_ours(), **({} if self.gpus else {"CUDA_VISIBLE_DEVICES": ""})},
            "tasks": {key: task.told(lambda path: os.path.relpath(path, ROOT)) for key, task in tasks.items()},
        }
        own = {} if self.settings.address else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._answers = False
        self._driver = subprocess.Popen(
            [sys.executable, "-m", "pipeline.engines.ray_driver"],
            cwd=ROOT,
            env={**os.environ, **QUIET, **own},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._lines = SimpleQueue()
        Thread(target=_read, args=(self._driver, self._lines), daemon=True).start()
        assert self._driver.stdin
        self._driver.stdin.write(json.dumps(request) + "\n")
        self._driver.stdin.flush()


ENGINE = Ray


def _read(process: "subprocess.Popen[str]", lines: "SimpleQueue[str | None]") -> None:
    """What a process says, line by line, and None at its end."""
    assert process.stdout
    for line in process.stdout:
        if line.startswith("{"):
            lines.put(line)
        else:
            print(line, end="", file=sys.stderr)
    lines.put(None)


def _ours() -> dict[str, str]:
    """What a task's process has in its environment, but for where programs are: that is its node's."""
    return {name: value for name, value in variables(**{SENT_BY: Ray.name}).items() if name != "PATH"}


def _has_token() -> bool:
    there = any(os.environ.get(name) for name in TOKENS) or Path("~/.ray/auth_token").expanduser().is_file()
    return os.environ.get("RAY_AUTH_MODE") == "token" and there
