"""One task of an array on its node, in place of the job's shell: `python -m pipeline.engines.slurm_task FOLDER INDEX`.

The warning before the time limit (SIGUSR1) reaches this process alone, which hands it on and then has the task queued
again; SIGTERM reaches the run by itself, which saves. Leaves <index>.code in the folder, unless the task is to go on.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.engines.node import is_busy, newest_checkpoint, started

WARNED = (128 + signal.SIGUSR1, -signal.SIGUSR1)  # how a run ends by it, once or before it can save
LOOK_S = 10.0  # between two tries of a run that another process seems to train


def main(folder: Path, index: int) -> int:
    """The exit code of the run, wherever it was interrupted."""
    task = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))[index]
    code_file, step_file = folder / f"{index}.code", folder / f"{index}.step"
    code_file.unlink(missing_ok=True)
    code = _trained(task)
    if code in WARNED and (why := _done_with(task, step_file)) is None:
        place = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{index}"
        done = subprocess.run(["scontrol", "requeue", place], capture_output=True, text=True, check=False)
        if not done.returncode:
            return code
        why = f"could not be queued again: {' '.join(done.stderr.split())}"
    if code in WARNED:
        with Path(task["log"]).open("a", encoding="utf-8") as log:
            log.write(f"{task['name']}: {why}\n")
    code_file.write_text(str(code), encoding="ascii")
    return code


def _trained(task: dict[str, Any]) -> int:
    """Runs the process to its end, however often; another one that trains the same is waited for."""
    tree, root, log = (Path(task[name]) for name in ("tree", "root", "log"))
    fresh = os.environ.get("SLURM_RESTART_COUNT", "0") == "0"
    running, warned = list[subprocess.Popen[bytes]](), list[int]()

    def warn(number: int, frame: object) -> None:
        warned.append(number)
        for process in running:
            process.send_signal(number)

    signal.signal(signal.SIGUSR1, warn)  # it is ignored until here, and this process' children would inherit that
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    while True:
        running[:] = [started(task["words"], tree, root, log, task["variables"], fresh)]
        if warned:
            running[0].send_signal(warned[0])  # it may have come before there was a process
        code = running[0].wait()
        if warned or code != 1 or not is_busy(log):
            return code if not warned or code != 1 else WARNED[0]
        for _ in range(int(10 * LOOK_S)):
            time.sleep(0 if warned else 0.1)
        fresh = False


def _done_with(task: dict[str, Any], step_file: Path) -> str | None:
    """Why the task is not queued again; None if it is."""
    now, count = newest_checkpoint([Path(path) for path in task["folders"]]), os.environ.get("SLURM_RESTART_COUNT", "0")
    before = int(step_file.read_text(encoding="ascii")) if step_file.is_file() and count != "0" else -1
    step_file.write_text(str(now), encoding="ascii")
    if int(count) >= task["restarts"]:
        return f"met its time limit {int(count) + 1} times; slurm.restarts or slurm.minutes may be larger"
    if now <= before:
        return f"came no further than env step {now} within its time limit; slurm.minutes has to be larger"
    return None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
