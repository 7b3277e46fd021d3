"""What is done to a grid on Ray."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from pipeline.checks.cluster.grid import Grid, Process, kill, until
from pipeline.checks.cluster.ray_nodes import HEAD, WORKERS, Machines
from pipeline.checks.cluster.trials import INT, KILL, TERM, Disturb, Trial, cell_gets, command_gets
from pipeline.engines.store import MANIFEST

BUCKET = "tom"


def stored(url: str) -> list[str]:
    """The words for checkpoints kept there, often."""
    return ["-o", f"ray.store={url}", "-o", "ray.store_every_s=1"]


def ray_trials(machines: Machines, scratch: Path) -> list[Trial]:
    """In the order in which they are done; each leaves all machines up."""

    def busy(grid: Grid) -> str:
        """A machine that trains."""
        cells = set(grid.cells())
        return next(name for name in WORKERS if cells & set(machines.processes(name)))

    def lost(grid: Grid, process: Process) -> None:
        name = busy(grid)
        machines.lose_power(name)
        machines.start_machine(name)

    def lost_once(kept: Callable[[], bool]) -> Disturb:
        def disturb(grid: Grid, process: Process) -> None:
            until(kept, process)
            lost(grid, process)

        return disturb

    def in_folder() -> bool:
        return any(store.rglob(MANIFEST))

    def in_s3() -> bool:
        try:
            with urlopen(f"{machines.s3}/{BUCKET}?list-type=2") as listing:
                return MANIFEST.encode() in listing.read()
        except HTTPError:  # no bucket yet
            return False

    def program_gets(program: str, number: int, again: bool = False) -> Disturb:
        def disturb(grid: Grid, process: Process) -> None:
            name = busy(grid)
            kill(machines.processes(name, program), number)
            if again:
                time.sleep(30.0)  # as long as it takes to be missed
                machines.lose_power(name)
                machines.start_machine(name)

        return disturb

    def cut(grid: Grid, process: Process) -> None:
        name = busy(grid)
        machines.cable(name, "down")
        until(lambda: "again, on" in grid.said(), process)
        machines.cable(name, "up")
        machines.lose_power(name)  # a node that was missed stays lost until it is started again
        machines.start_machine(name)

    def driverless(grid: Grid, process: Process) -> None:
        kill(machines.processes(HEAD, "pipeline.engines.ray_driver"))

    def headless(grid: Grid, process: Process) -> None:
        kill(machines.processes(HEAD, "gcs_server"))
        until(lambda: process.poll() is not None)
        for name in (*WORKERS, HEAD):
            machines.lose_power(name)
        for name in (HEAD, *WORKERS):
            machines.start_machine(name)
        grid.prefix = machines.inside(HEAD)

    apart, store = ["-o", "ray.shared=false"], scratch / "store"
    return [
        Trial("8 cells", seeds=4),
        Trial("a machine's power lost", lost, says="again, on"),
        Trial("a machine's power lost, two seeds in a process", lost, says="again, on", batch=2),
        Trial("SIGKILL of a worker", program_gets("ray::trained", KILL)),
        Trial("SIGTERM of a worker", program_gets("ray::trained", TERM)),
        Trial("SIGKILL of a raylet", program_gets("raylet/raylet", KILL, again=True)),
        Trial("SIGKILL of a run", cell_gets(KILL)),
        Trial("SIGTERM of a run", cell_gets(TERM)),
        Trial("a cable cut", cut, says="again, on"),
        Trial("the command: ^C", command_gets(INT), codes=(128 + signal.SIGINT,), says="the same command goes on"),
        Trial("the command: SIGKILL", command_gets(KILL), codes=(-signal.SIGKILL,)),
        Trial("SIGKILL of the driver", driverless, says="another one goes on"),
        Trial("the head's GCS: SIGKILL", headless, codes=(1, 0)),
        Trial("nothing shared: 4 cells", words=apart),
        Trial("nothing shared, no store: power lost", lost, apart),
        Trial("nothing shared, a store: power lost", lost_once(in_folder), [*apart, *stored(f"file://{store}")]),
        Trial("nothing shared, an S3 server: power lost", lost_once(in_s3), [*apart, *stored(f"s3://{BUCKET}/store")]),
    ]
