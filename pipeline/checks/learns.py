"""Does it learn? Methods on HalfCheetah at scale quick, over six seeds, in the runs of the suite `crossings`.

A seed's score is the best of its last three evaluations; a method learns if the median over seeds reaches the bar.
An untrained deterministic policy scores about 0 and uniform random actions about -280.
"""

import statistics
from collections.abc import Sequence

from pipeline.analysis.results import read_evaluations
from pipeline.config.params import load_params
from pipeline.config.refusals import one_of
from pipeline.engines.batches import Batch, words_of
from pipeline.engines.engine import task_of
from pipeline.engines.local import Local
from pipeline.engines.training import train_all
from pipeline.files import ROOT
from pipeline.runs.folder import Cell, State, run_folder, state
from pipeline.suites.returns.cells import cell_of

METHODS, ENV, SCALE, SEEDS = ("mbpo", "tom"), "halfcheetah", "quick", range(6)
AS_CROSSED = ("train.probe_every_env_steps=500",)  # as in params.yaml, so that what that suite trained is there
BAR = 220.0  # return
LAST = 3  # evaluations


def cells(methods: Sequence[str]) -> list[Cell]:
    """The runs this question needs."""
    return [cell_of(method, ENV, seed, SCALE, AS_CROSSED) for method in methods for seed in SEEDS]


def score(cell: Cell) -> float:
    """The best of the last evaluations of a finished run."""
    return float(read_evaluations(run_folder(cell, ROOT) / "evals.csv")["return_mean"].tail(LAST).max())


def train_missing(cells: Sequence[Cell], jobs: int, overrides: Sequence[str] = ()) -> None:
    """Trains the cells that runs/ lacks, with overrides that their settings hold; RuntimeError says why any failed."""
    untrained = [cell for cell in cells if state(run_folder(cell, ROOT), cell) is not State.FINISHED]

    def command(one: Batch) -> list[str]:
        return ["pipeline.train", *words_of(one), *overrides, "tracking=off"]

    tasks = [task_of([cell], command, lambda cell: run_folder(cell, ROOT)) for cell in untrained]
    if failed := train_all(tasks, Local(jobs=jobs)):
        raise RuntimeError("; ".join(failed.values()))


def learns(jobs: int, methods: Sequence[str] = METHODS) -> int:
    """0 if every method learns; the table says which seeds did not. SettingsError for a method that is not there."""
    there = load_params().entries
    wanted = cells([one_of("method", method, there) for method in methods])
    train_missing(wanted, jobs, AS_CROSSED)
    print(f"{ENV}, scale {SCALE}: best of the last {LAST} evaluations by seed; the median has to reach {BAR:.0f}")
    all_learn = True
    for method in methods:
        scores = [score(cell) for cell in wanted if cell.method == method]
        median, below = statistics.median(scores), sum(value < BAR for value in scores)
        all_learn &= median >= BAR
        listed = " ".join(f"{value:7.0f}" for value in scores)
        print(f"{method:10}{listed}   median {median:.0f}, {below} of {len(scores)} seeds below the bar")
    return 0 if all_learn else 1
