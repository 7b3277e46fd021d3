"""`tom check cluster`: a real Slurm and a real Ray of three nodes on this machine, and what is done to them.

Runs as root in a network of its own, which it makes itself. Programs are brought into runs/.cluster, once.
"""

import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.checks.cluster.grid import Grid, ended
from pipeline.checks.cluster.ray_nodes import HEAD, Machines, installed
from pipeline.checks.cluster.ray_trials import ray_trials
from pipeline.checks.cluster.slurm_nodes import Nodes, unpacked
from pipeline.checks.cluster.slurm_trials import slurm_trials
from pipeline.checks.cluster.trials import Outcome, Trial, together, tried
from pipeline.config.refusals import one_of
from pipeline.files import ROOT
from pipeline.runs.folder import Refused

PROGRAMS = {"slurm": unpacked, "ray": installed}
INSIDE = "TOM_CLUSTER_DRILL"
PLACE = ROOT / "runs/.cluster"
SETUP = (
    'ip link set lo up && ip address add 10.98.0.1/32 dev lo && exec "$@"'  # Slurm wants an address that is no 127.*
)


def drilled(only: str | None, match: str) -> int:
    """0 if every trial ended as it should, 1 if one did not; Refused where namespaces cannot be made."""
    engines = list(CLUSTERS) if only is None else [one_of("only", only, CLUSTERS)]
    for engine in engines:
        PROGRAMS[engine](PLACE / engine)  # while there is a network
    if INSIDE not in os.environ:
        if os.geteuid() or not shutil.which("unshare"):
            raise Refused("the drill makes networks and machines of its own: it has to be root's, on Linux")
        os.environ[INSIDE] = "1"
        command = [sys.executable, "-m", "pipeline.app", *sys.argv[1:]]
        os.execvp("unshare", ["unshare", "--net", "sh", "-c", SETUP, "sh", *command])
    signal.signal(signal.SIGTERM, _end)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # daemons that are killed leave their memory nowhere
    passed = True
    with tempfile.TemporaryDirectory(prefix="cluster-") as scratch:
        for outcome in drill(engines, match, Path(scratch)):
            print(outcome, flush=True)
            passed &= not outcome.problems
    return 0 if passed else 1


def _end(number: int, frame: object) -> None:
    """What was started is ended, once."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def drill(engines: Sequence[str], match: str, scratch: Path) -> Iterator[Outcome]:
    """The trials of these engines whose name holds `match`."""
    grid = Grid(scratch / "repository", seeds=4)
    print("the grid on one machine, to compare with ...", file=sys.stderr, flush=True)
    references = {batch: scratch / f"reference-{batch}" for batch in (1, 2)}
    for batch, folder in references.items():
        grid.reset()
        if ended(grid.start("--engine", "local", "--jobs", "2", *together(batch))):
            raise Refused(f"the grid fails here: {grid.said()}")
        (grid.folder / "reports/results/smoke").rename(folder)
    for engine in engines:
        with CLUSTERS[engine](grid, scratch) as (trials, option):
            if not match or "overhead" in match:
                grid.reset()
                ended(grid.module("pipeline.checks.cluster.overhead", engine, option))
                told = [line for line in grid.said().splitlines() if line.startswith(f"{engine}: the first of")]
                print(*told, flush=True)
            wanted = [trial for trial in trials if any(word in f"{engine}: {trial.what}" for word in match.split("|"))]
            for trial in wanted:
                outcome = tried(trial, grid, ["--engine", engine, "-o", option], references)
                if outcome.problems:
                    print(f"--- {engine}: {trial.what}\n{grid.said()}---", file=sys.stderr, flush=True)
                print(f"{engine}: ", end="")
                yield outcome


@contextmanager
def _slurm(grid: Grid, scratch: Path) -> Iterator[tuple[list[Trial], str]]:
    nodes = Nodes(unpacked(PLACE / "slurm"), scratch / "slurm")
    try:
        nodes.start()
        grid.variables = nodes.variables
        yield slurm_trials(nodes), "slurm.minutes=60"
    finally:
        nodes.stop()


@contextmanager
def _ray(grid: Grid, scratch: Path) -> Iterator[tuple[list[Trial], str]]:
    machines = Machines(installed(PLACE / "ray"))
    try:
        machines.start()
        grid.variables, grid.prefix, grid.elsewhere = machines.variables, machines.inside(HEAD), machines.place
        yield ray_trials(machines, scratch), f"ray.address={machines.address}"
    finally:
        machines.stop()


CLUSTERS = {"slurm": _slurm, "ray": _ray}  # while it is entered: its trials, and what the engine is told
