"""Makes what is stale of the suite `weights`, several cells at a time, then records it and makes tables and figures.

    python -m pipeline.suites.weights.launch [jobs=N] [scale=smoke|quick|paper]

`jobs` is the number of cells at once (default: the number of cores). `scale` is written into params.yaml first, below
`weights:`. A cell that fails does not stop the others, and SAC goes on from its last checkpoint when the same command
is started again.
"""

import sys
from collections.abc import Sequence
from itertools import product

from pipeline.config.params import Params
from pipeline.engines.processes import dvc
from pipeline.launch import Batch, started, train_all
from pipeline.suites.weights.cells import WEIGHTS

MADE = ("weights_tables", "weights_plot")  # stages of the root's dvc.yaml


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every cell is recorded and tables and figures are made; 1 if not; 2 for bad input."""
    return started(
        argv, WEIGHTS.scale, lambda params, jobs, batch: launch(params, jobs), WEIGHTS.name, ("jobs", "scale")
    )


def launch(params: Params, jobs: int) -> int:
    """Configures, makes the cells, records them; the exit code."""
    suite = WEIGHTS.section(params)
    if dvc("repro", "-q", f"{WEIGHTS.stages}:configure"):
        return 1
    cells = [WEIGHTS.read_cell(env, seed, suite.scale) for env, seed in product(suite.grid.envs, suite.grid.seeds)]
    stale = [cell for cell in cells if not WEIGHTS.is_recorded(cell)]
    print(f"{len(cells)} cells of the suite {WEIGHTS.name} at scale {suite.scale}: {len(stale)} to make", flush=True)
    failed = train_all([[cell] for cell in stale], jobs, command)
    for name, reason in failed.items():
        print(f"failed   {name}: {reason}")
    if failed:
        return 1
    return dvc("repro", "-q", WEIGHTS.stages) or dvc("repro", "-q", *MADE)


def command(batch: Batch) -> list[str]:
    """Makes one cell in a process of its own."""
    (cell,) = batch
    return ["pipeline.suites.weights.work", f"env={cell.env}", f"seed={cell.seed}", f"scale={cell.scale}"]


if __name__ == "__main__":
    sys.exit(main())
