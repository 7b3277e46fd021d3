"""A task on a node of a Ray cluster: its process, its signals, and where nothing is shared what travels."""

import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.engines import node, travel
from pipeline.engines.store import Store

INTERRUPTED = tuple(128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2))
LOOK_S, BUSY_S, SAVING_S = 0.2, 10.0, 120.0


class Interrupted(RuntimeError):
    """A run that something stopped: it goes on, here or elsewhere. Any other end is an answer."""


def trained(key: str, task: dict[str, Any], board: Any) -> dict[str, Any]:
    """Exit code and last line, and where nothing is shared the finished folders and the log; raises Interrupted."""
    with suppress(Exception):  # only news
        board.say.remote(key, _here())
    root = Path(task["root"]) if task["shared"] else Path.cwd()
    tree = Path(task["tree"]) if task["shared"] else root
    folders, log = [root / folder for folder in task["folders"]], root / task["log"]
    store = Store(task["store"]) if task["store"] else None
    for name, folder in zip(task["folders"], folders, strict=True):
        if store:
            store.fetch(name, folder)
    variables = dict(task["variables"])
    if not task["shared"] or str(tree) != task["root"]:
        variables["PYTHONPATH"] = os.pathsep.join([str(tree), os.environ.get("PYTHONPATH", "")])
    while True:
        code = _run(node.started(task["words"], tree, root, log, variables), task, folders, store)
        if code != 1 or not node.is_busy(log):
            break
        time.sleep(BUSY_S)  # lost with its node perhaps, which cannot be known at once
    line = node.said_last(log, task["name"], code, task["log"])
    if code < 0 or code in INTERRUPTED:
        raise Interrupted(line)
    there = {} if task["shared"] else {"files": travel.packed(folders), "log": travel.end_of(log)}
    return {"code": code, "line": line, "where": _here(), **there}


def _run(process: Any, task: dict[str, Any], folders: list[Path], store: Store | None) -> int:
    """The exit code of the process; its checkpoints are kept meanwhile. Whoever cancels the task stops it, saved."""
    kept = time.monotonic()
    try:
        while process.poll() is None:
            time.sleep(LOOK_S)
            if store and time.monotonic() - kept >= task["store_every_s"]:
                _keep(task, folders, store)
                kept = time.monotonic()
    except BaseException:
        process.send_signal(signal.SIGTERM)
        process.wait(SAVING_S)
        raise
    finally:
        if store and process.poll() is not None:
            _keep(task, folders, store)
    return int(process.returncode)


def _keep(task: dict[str, Any], folders: list[Path], store: Store) -> None:
    for name, folder in zip(task["folders"], folders, strict=True):
        store.keep(name, folder)


def _here() -> str:
    """The node, as its cluster calls it."""
    import ray

    address = str(ray.util.get_node_ip_address())
    return socket.gethostname() if address.startswith("127.") and address == "127.0.0.1" else address
