"""A mirror of a run in Weights & Biases: never the record, never in the way.

The record is reports/results/. Whatever goes wrong here costs one line on stderr, and the run goes on without a mirror.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from pipeline.runs.interruptions import Interruptions

PROJECT = "tom-reproduction"
INIT_TIMEOUT_S = 30
SERVICE_TIMEOUT_S = 10  # for an answer from wandb's own process on this machine
FINISH_TIMEOUT_S = 60  # uploads what is left; wandb's own default waits for ever


class Cell(Protocol):
    """What names a run."""

    @property
    def scale(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def env(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...


class Tracker:
    """Tracks nothing: what `tracking=off` gives."""

    def log(self, numbers: Mapping[str, float], env_steps: int) -> None:
        """Shows `numbers` at `env_steps`, which never decrease. Never raises."""


@contextmanager
def tracker(mode: str, cell: Cell, config: Mapping[str, Any], folder: Path) -> Iterator[Tracker]:
    """A tracker for one run: mode `off` or `wandb`. `config` holds plain nested values; files go below `folder`/wandb.

    With mode `wandb` it is online if WANDB_MODE says so or a key is in the environment, else offline, and never asks.
    Raises ValueError for another mode and nothing else of its own.
    """
    if mode not in ("off", "wandb"):
        raise ValueError(f"tracking={mode} is not one of off, wandb")
    if mode == "off":
        yield Tracker()
        return
    mirror = _Wandb()
    mirror.start(cell, config, folder)
    failed = True
    try:
        yield mirror
        failed = False
    finally:
        mirror.finish(exit_code=int(failed))


class _Wandb(Tracker):
    """A run in W&B until the first error, nothing after it."""

    def __init__(self) -> None:
        self._run: Any = None
        self._rows = 0

    def start(self, cell: Cell, config: Mapping[str, Any], folder: Path) -> None:
        def init() -> None:
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # an offline run calls nobody
            import wandb  # here, so that `off` never loads it

            folder.mkdir(parents=True, exist_ok=True)
            self._run = wandb.init(
                **description(cell, config), dir=folder, mode=_mode(), settings=wandb.Settings(**settings())
            )
            self._run.define_metric("env_steps")
            self._run.define_metric("*", step_metric="env_steps")

        self._guarded(init, INIT_TIMEOUT_S + SERVICE_TIMEOUT_S)

    def log(self, numbers: Mapping[str, float], env_steps: int) -> None:
        if self._run is not None:
            run, row, step = self._run, {**numbers, "env_steps": env_steps}, self._rows
            self._guarded(lambda: run.log(row, step=step), SERVICE_TIMEOUT_S)
        self._rows += 1

    def finish(self, exit_code: int) -> None:
        if self._run is not None:
            run, self._run = self._run, None
            self._guarded(lambda: run.finish(exit_code=exit_code), FINISH_TIMEOUT_S + SERVICE_TIMEOUT_S)

    def _guarded(self, call: Callable[[], object], timeout_s: float) -> None:
        error = _outcome(call, timeout_s)
        if error is not None:
            self._run = None
            reason = " ".join(str(error).split()) or type(error).__name__
            if (
                not Interruptions.noted
            ):  # else a job's signal has ended the helper too; who goes on tells all rows again
                print(f"tracking stopped, the run goes on: {reason[:200]}", file=sys.stderr)
            _kill_service()


def _outcome(call: Callable[[], object], timeout_s: float) -> Exception | None:
    """The error of a call, if any; a call that takes longer is left behind in its thread."""
    errors: list[Exception] = []

    def guarded() -> None:
        try:
            call()
        except Exception as error:  # wandb raises many kinds, its own and the operating system's
            errors.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        return TimeoutError(f"wandb did not answer within {timeout_s:g} s")
    return errors[0] if errors else None


def _kill_service() -> None:
    """Ends wandb's helper process and takes back wandb's hook at exit, which would wait for it or print a traceback."""
    with suppress(Exception):
        import wandb

        service = wandb.setup()._connection  # the only way to a helper that does not answer
        if service is not None and service._proc is not None:
            service._proc._process.kill()
    _outcome(lambda: wandb.teardown(), SERVICE_TIMEOUT_S)


def settings() -> dict[str, Any]:
    """What every run here asks of wandb: to be quiet, to look at nothing but our numbers, and not to wait for ever."""
    return {
        "silent": True,
        "console": "off",  # our output is nobody else's
        "x_disable_stats": True,
        "disable_git": True,  # a remote's address can hold a password; provenance.json has the commit
        "disable_code": True,
        "init_timeout": INIT_TIMEOUT_S,
        "finish_timeout": FINISH_TIMEOUT_S,
    }


def _mode() -> Any:
    """WANDB_MODE if it is set, else online with a key in the environment, else offline."""
    return os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")


def description(cell: Cell, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the run is called and found by; seeds of one curve share their group."""
    return {
        "project": os.environ.get("WANDB_PROJECT", PROJECT),
        "id": f"{cell.scale}-{cell.method}-{cell.env}-s{cell.seed}-{cell.fingerprint}",
        "name": f"{cell.method} {cell.env} s{cell.seed}",
        "group": f"{cell.scale}/{cell.method}/{cell.env}",
        "job_type": "train",
        "tags": [cell.scale, cell.method, cell.env],
        "resume": "allow",  # online: rows that are there already have their number and are dropped
        "config": {**config, "method_name": cell.method, "env_name": cell.env, "scale": cell.scale, "seed": cell.seed},
    }
