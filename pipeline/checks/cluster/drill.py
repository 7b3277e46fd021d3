"""`tom check cluster`: a real Slurm and a real Ray of three nodes on this machine, and what is done to them.

Runs as root in a network of its own, which it makes itself. Programs are brought into runs/.cluster, once.
"""

import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
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

References = Mapping[int, Path]  # results on one machine, by the seeds of a process
ENGINES, INSIDE = ("slurm", "ray"), "TOM_CLUSTER_DRILL"
PLACE = ROOT / "runs/.cluster"
SETUP = (
    'ip link set lo up && ip address add 10.98.0.1/32 dev lo && exec "$@"'  # Slurm wants an address that is no 127.*
)


def drilled(only: str | None, match: str) -> int:
    """0 if every trial ended as it should, 1 if one did not; Refused where namespaces cannot be made."""
    engines = ENGINES if only is None else [one_of("only", only, ENGINES)]
    programs = {"slurm": lambda: unpacked(PLACE / "slurm"), "ray": lambda: installed(PLACE / "ray")}
    for engine in engines:
        programs[engine]()  # while there is a network
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
    if "slurm" in engines:
        yield from _on_slurm(grid, match, scratch, references)
    if "ray" in engines:
        yield from _on_ray(grid, match, scratch, references)


def _on_slurm(grid: Grid, match: str, scratch: Path, references: References) -> Iterator[Outcome]:
    nodes = Nodes(unpacked(PLACE / "slurm"), scratch / "slurm")
    try:
        nodes.start()
        grid.variables = nodes.variables
        yield from _all(
            slurm_trials(nodes), "slurm", match, grid, ["--engine", "slurm", "-o", "slurm.minutes=60"], references
        )
    finally:
        nodes.stop()


def _on_ray(grid: Grid, match: str, scratch: Path, references: References) -> Iterator[Outcome]:
    machines = Machines(installed(PLACE / "ray"))
    try:
        machines.start()
        grid.variables, grid.prefix, grid.elsewhere = machines.variables, machines.inside(HEAD), machines.place
        words = ["--engine", "ray", "-o", f"ray.address={machines.address}"]
        yield from _all(ray_trials(machines, scratch), "ray", match, grid, words, references)
    finally:
        machines.stop()


def _all(
    trials: Sequence[Trial], name: str, match: str, grid: Grid, words: Sequence[str], references: References
) -> Iterator[Outcome]:
    wanted = [trial for trial in trials if any(word in f"{name}: {trial.what}" for word in match.split("|"))]
    if not match or "overhead" in match:
        grid.reset()
        ended(grid.module("pipeline.checks.cluster.overhead", name, *(word for word in words[2:] if word != "-o")))
        print(*(line for line in grid.said().splitlines() if line.startswith(f"{name}: the first of")), flush=True)
    for trial in wanted:
        outcome = tried(trial, grid, words, references)
        if outcome.problems:
            print(f"--- {name}: {trial.what}\n{grid.said()}---", file=sys.stderr, flush=True)
        print(f"{name}: ", end="")
        yield outcome
