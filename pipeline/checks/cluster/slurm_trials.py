"""What is done to a grid on Slurm."""

import shutil
import signal
import time
from collections.abc import Sequence

from pipeline.checks.cluster.grid import Grid, Process, until
from pipeline.checks.cluster.slurm_nodes import NODES, Nodes
from pipeline.checks.cluster.trials import INT, KILL, Trial, command_gets


def slurm_trials(nodes: Nodes) -> list[Trial]:
    """In the order in which they are done."""

    def running() -> list[tuple[str, str]]:
        """Task and node of those that run."""
        rows = nodes.said("squeue", "-h", "-r", "-t", "RUNNING", "-p", "low", "-o", "%F_%K %N").splitlines()
        return [(row.split()[0], row.split()[1]) for row in rows]

    def soon(tasks: Sequence[str], grid: Grid, process: Process) -> None:
        """After it is queued again a task waits for two minutes, unless it is told otherwise, once the engine knows."""
        seen = set[str]()

        def told() -> bool:
            rows = nodes.said("squeue", "-h", "-r", "-t", "PENDING", "-o", "%F_%K %r").splitlines()
            waiting = {row.split()[0] for row in rows if "BeginTime" in row and "waits again" in grid.said()}
            for task in waiting:
                nodes.said("scontrol", "update", f"JobId={task}", "StartTime=now")
            seen.update(waiting)
            return seen >= set(tasks)

        until(told, process)

    def requeued(grid: Grid, process: Process) -> None:
        task, _ = running()[0]
        nodes.said("scontrol", "requeue", task)
        soon([task], grid, process)

    def warned(grid: Grid, process: Process) -> None:
        tasks = [task for task, _ in running()]
        for task in tasks:
            nodes.said("scancel", "--signal=USR1", "--batch", task)
        soon(tasks, grid, process)

    def preempted(grid: Grid, process: Process) -> None:
        tasks = [task for task, _ in running()]
        nodes.said("sbatch", "-p", "high", "-N", str(len(NODES)), "-o", "/dev/null", "--wrap", "sleep 5")
        soon(tasks, grid, process)

    def lost(grid: Grid, process: Process) -> None:
        _, node = running()[0]
        nodes.kill_node(node)
        time.sleep(20.0)
        nodes.start_node(node)

    def array_without_folder(grid: Grid, process: Process) -> None:
        process.kill()
        shutil.rmtree(grid.folder / "runs", ignore_errors=True)

    def cancelled(grid: Grid, process: Process) -> None:
        process.send_signal(INT)
        process.wait()
        grid.start("--engine", "slurm", "--cancel").wait()

    code = 128 + signal.SIGINT
    return [
        Trial("8 cells", seeds=4),
        Trial("left with --no-wait, then waited for", words=["--no-wait"], says="4 there already"),
        Trial("a task requeued (scontrol requeue)", requeued, says="waits again"),
        Trial("warned of the time limit, every task that runs", warned, says="waits again"),
        Trial("preempted on all nodes by another partition", preempted, says="waits again"),
        Trial("a node's power lost", lost),
        Trial("the command: ^C", command_gets(INT), codes=(code,), says="go on in Slurm's queue"),
        Trial("the command: SIGKILL", command_gets(KILL), codes=(-9,), says="there already"),
        Trial("^C, then --cancel", cancelled, codes=(code,), says="cancelled"),
        Trial("the command: SIGKILL, and runs/ deleted under the array", array_without_folder, codes=(-9,)),
    ]
