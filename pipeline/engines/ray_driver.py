"""The driver of a Ray job: tasks on stdin as a line of JSON, what becomes of them on stdout, a line each.

It ends with whoever holds the other end of stdin; SIGTERM ends the tasks first, saved.
"""

import json
import os
import signal
import sys
import tarfile
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import ray
from ray import cloudpickle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.engines import node, ray_task, store, travel
from pipeline.engines.ray_task import Interrupted

asked: list[int] = []


class Board:
    """Where tasks say on which node they begin."""

    def __init__(self) -> None:
        self.news: list[tuple[str, str]] = []

    def say(self, key: str, where: str) -> None:
        """The task begins there."""
        self.news.append((key, where))

    def take(self) -> list[tuple[str, str]]:
        """What was said since the last time."""
        news, self.news = self.news, []
        return news


def main() -> int:
    """0 once all tasks have ended."""
    request = json.loads(sys.stdin.readline())
    Thread(target=_end_with_stdin, daemon=True).start()
    _connect(request)
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))  # now: Ray sets one of its own
    print(json.dumps({"slots": _slots(request)}), flush=True)
    if request["tasks"]:
        Job(request).run()
    ray.shutdown()
    return 0


class Job:
    """The tasks of one request."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request, self.waiting = request, list(request["tasks"])
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        board = ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(Board)
        self.board = board.remote()
        resources = {request["constraint"]: 0.001} if request["constraint"] else None
        self.train = ray.remote(
            num_cpus=request["cpus"],
            num_gpus=request["gpus"],
            memory=request["memory"],
            resources=resources,
            max_retries=request["retries"],
            retry_exceptions=[Interrupted],
            scheduling_strategy="SPREAD",
        )(ray_task.trained)
        self.running: dict[Any, str] = {}

    def run(self) -> None:
        """Until all have ended, or those that ran when it was asked to stop."""
        cancelled = False
        while self.running or (self.waiting and not asked):
            while (
                self.waiting and not asked and len(self.running) < (self.request["jobs"] or len(self.request["tasks"]))
            ):
                key = self.waiting.pop(0)
                self.running[self.train.remote(key, self._task(key), self.board)] = key
            if asked and not cancelled:
                cancelled = True
                for reference in self.running:
                    ray.cancel(reference)
            ready, _ = ray.wait(list(self.running), timeout=0.3)
            self.hear()
            for reference in ready:
                say(key := self.running.pop(reference), "ENDED", **self.ended(key, reference))

    def hear(self) -> None:
        """Says which tasks have begun, and where; nothing where that cannot be known now."""
        with suppress(ray.exceptions.RayError):
            for key, where in ray.get(self.board.take.remote(), timeout=10.0):
                say(key, "RUNS", where=where)

    def _task(self, key: str) -> dict[str, Any]:
        common = {name: self.request[name] for name in ("root", "shared", "store", "store_every_s", "variables")}
        return {**self.request["tasks"][key], **common}

    def ended(self, key: str, reference: Any) -> dict[str, Any]:
        """The exit code of a task and the last that it said; what travels back with it is unpacked."""
        task = self.request["tasks"][key]
        try:
            answer = ray.get(reference)
            if not self.request["shared"]:
                root = Path(self.request["root"])
                travel.unpack(answer.pop("files"), [root / folder for folder in task["folders"]])
                travel.keep_log(answer.pop("log"), root / task["log"])
        except ray.exceptions.TaskCancelledError:
            return {"code": 128 + signal.SIGTERM, "line": f"{task['name']}: stopped"}
        except (ray.exceptions.RayError, OSError, ValueError, tarfile.TarError, Interrupted) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return {"code": 1, "line": f"{task['name']}: {lines[-1]}"}
        return dict(answer)


def say(key: str, state: str, **more: Any) -> None:
    """A line of news."""
    print(json.dumps({"key": key, "state": state, **more}), flush=True)


def _connect(request: dict[str, Any]) -> None:
    for module in (node, ray_task, store, travel):
        cloudpickle.register_pickle_by_value(module)  # nodes may have other code, or none yet
    environment: dict[str, Any] = {}
    if not request["shared"] and request["tasks"]:
        environment = {"working_dir": next(iter(request["tasks"].values()))["tree"]}
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False, "runtime_env": environment}
    if request["address"]:
        ray.init(address=request["address"], **quiet)
    else:
        ray.init(address="local", include_dashboard=False, **quiet)


def _slots(request: dict[str, Any]) -> int:
    """How many tasks the nodes have room for."""
    count = 0
    for found in ray.nodes():
        there = found["Resources"] if found["Alive"] else {}
        if request["constraint"] in (None, *there):
            room = [there.get("CPU", 0) / request["cpus"], there.get("memory", 0) / request["memory"]]
            room += [there.get("GPU", 0) / request["gpus"]] if request["gpus"] else []
            count += int(min(room) + 1e-9)
    return count


def _end_with_stdin() -> None:
    """Nothing is to go on when the process above has ended, in whatever way."""
    with open(sys.stdin.fileno(), closefd=False) as held:
        held.read()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
