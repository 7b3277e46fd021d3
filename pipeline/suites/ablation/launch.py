"""Trains what the suite `ablation` lacks, several runs at a time, then records it and makes its tables and figure.

    python -m pipeline.suites.ablation.launch [jobs=N] [batch=N] [scale=smoke|quick|paper] [until=N|none]

`jobs` is the number of processes at once (default: the number of cores), `batch` the number of seeds in each, as in
pipeline/launch.py. `scale` and `until` are written into params.yaml first, below `ablation:`. A run that fails does
not stop the others; what is finished stays finished, so the same command goes on after a stop.
"""

import sys
from collections.abc import Sequence
from itertools import product

from pipeline.config.params import Params
from pipeline.engines.estimate import estimate_hours
from pipeline.engines.processes import dvc
from pipeline.launch import Batch, batched, default_batch, started, stops, train_all, until_of
from pipeline.runs.folder import Refused
from pipeline.suites.ablation.cells import ABLATION, members
from pipeline.suites.returns.cells import is_trained

MADE = ("ablation_tables", "ablation_plot")  # stages of the root's dvc.yaml


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every cell is recorded and tables and figure are made; 1 if not; 2 for bad input."""
    return started(argv, ABLATION.scale, launch, ABLATION.name)


def launch(params: Params, jobs: int, batch: int | None = None) -> int:
    """Configures, trains, records; the exit code."""
    suite = ABLATION.section(params)
    if dvc("repro", "-q", f"{ABLATION.stages}:configure"):
        return 1
    cells = [ABLATION.read_cell(env, seed, suite.scale) for env, seed in product(suite.grid.envs, suite.grid.seeds)]
    runs = [run for cell in cells if not ABLATION.is_recorded(cell) for run in members(cell)]
    stale = [run for run in runs if not is_trained(run)]
    total = len(cells) * len(suite.grid.methods)
    hours = f", about {estimate_hours(stale, jobs)}" if stale else ""
    size = f"{total} runs of the suite {ABLATION.name} at scale {suite.scale}{stops(runs)}"
    print(f"{size}: {len(stale)} to train{hours}", flush=True)
    failed = train_all(batched(stale, batch or default_batch(stale)), jobs, command)
    for name, reason in failed.items():
        print(f"failed   {name}: {reason}")
    if failed:
        return 1
    if changed := [run.name for run in stale if not is_trained(run)]:
        raise Refused(f"params.yaml or the code changed while {changed[0]} trained; run the same command again")
    return dvc("repro", "-q", ABLATION.stages) or dvc("repro", "-q", *MADE)


def command(batch: Batch) -> list[str]:
    """Trains the runs as params.yaml has them."""
    run, seeds = batch[0], ",".join(str(run.seed) for run in batch)
    words = [f"method={run.method}", f"env={run.env}", f"seeds=[{seeds}]", f"scale={run.scale}"]
    return ["pipeline.train", *words, *until_of(batch)]


if __name__ == "__main__":
    sys.exit(main())
