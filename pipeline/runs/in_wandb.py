"""A mirror of a run in Weights & Biases: online where W&B has a key or WANDB_MODE says so, else offline; never asks."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.runs.folder import Cell
from pipeline.runs.mirror import Mirror, outcome

PROJECT = "tom-reproduction"
INIT_TIMEOUT_S = 30
SERVICE_TIMEOUT_S = 10  # for an answer from wandb's own process on this machine
FINISH_TIMEOUT_S = 60  # uploads what is left; wandb's own default waits for ever


class Wandb(Mirror):
    """A run in W&B, its files below `folder`/wandb."""

    name = "wandb"
    begin_s = INIT_TIMEOUT_S + SERVICE_TIMEOUT_S
    row_s = SERVICE_TIMEOUT_S
    end_s = FINISH_TIMEOUT_S + SERVICE_TIMEOUT_S
    _run: Any = None
    _rows = 0

    def begin(self, cell: Cell, folder: Path) -> None:
        quieten()
        folder.mkdir(parents=True, exist_ok=True)
        self._run = opened(cell, folder, mode=mode())

    def row(self, numbers: Mapping[str, float], env_steps: int) -> None:
        self._run.log({**numbers, "env_steps": env_steps}, step=self._rows)
        self._rows += 1

    def end(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))

    def abandon(self) -> None:
        """Ends wandb's helper process and takes back its hook at exit, which would wait for it or print a traceback."""
        with suppress(Exception):
            import wandb

            service = wandb.setup()._connection  # the only way to a helper that does not answer
            if service is not None and service._proc is not None:
                service._proc._process.kill()
        outcome(lambda: wandb.teardown(), self.row_s, self.name)


def opened(cell: Cell, folder: str | Path, **how: Any) -> Any:
    """A run of W&B's for the cell, its files below the folder; rows are by env step."""
    import wandb  # here, so that no other mode loads it

    run = wandb.init(**description(cell), **how, dir=folder, settings=wandb.Settings(**settings()))
    run.define_metric("env_steps")
    run.define_metric("*", step_metric="env_steps")
    return run


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


def quieten() -> None:
    """Has wandb say nothing and call nobody on its own, unless the environment has it otherwise; before its import."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # an offline run calls nobody
    os.environ.setdefault("WANDB_SILENT", "true")


def mode() -> Any:
    """WANDB_MODE if it is set, else online where W&B finds a key, else offline: of runs and of `tom publish`.

    It looks in the environment, in its own settings and where `wandb login` writes, a netrc; what it finds stays there.
    Nobody is asked, neither a person nor a server.
    """
    if asked := os.environ.get("WANDB_MODE"):
        return asked
    import wandb

    return "online" if wandb.login(prompt=False, verify=False) else "offline"


def description(cell: Cell) -> dict[str, Any]:
    """What the run is called and found by; seeds of one curve share their group."""
    names = {"method_name": cell.method, "env_name": cell.env, "scale": cell.scale, "seed": cell.seed}
    return {
        "project": os.environ.get("WANDB_PROJECT", PROJECT),
        "id": f"{cell.scale}-{cell.method}-{cell.env}-s{cell.seed}-{cell.fingerprint}",
        "name": f"{cell.method} {cell.env} s{cell.seed}",
        "group": f"{cell.scale}/{cell.method}/{cell.env}",
        "job_type": "train",
        "tags": [cell.scale, cell.method, cell.env],
        "resume": "allow",  # online: rows that are there already have their number and are dropped
        "config": {**cell.config, **names},
    }
