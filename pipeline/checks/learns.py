"""Does it learn? Methods on HalfCheetah at scale quick, over six seeds, in the runs of the suite `crossings`.

A seed's score is the best of its last three evaluations; a method learns if the median over seeds reaches the bar.
An untrained deterministic policy scores about 0 and uniform random actions about -280.
"""

import statistics
from collections.abc import Sequence
from dataclasses import replace

from pipeline.analysis.results import read_evaluations
from pipeline.config.params import Params, load_params
from pipeline.config.refusals import one_of
from pipeline.engines.batches import Batch, words_of
from pipeline.engines.engine import task_of
from pipeline.engines.local import Local
from pipeline.engines.training import train_all
from pipeline.files import ROOT
from pipeline.runs.folder import Cell, State, run_folder, state
from pipeline.suites.returns.cells import cell_of

METHODS, ENV, SCALE, SEEDS = ("mbpo", "tom"), "halfcheetah", "quick", range(6)
BAR = 220.0  # return
LAST = 3  # evaluations


def as_crossed(params: Params) -> list[str]:
    """What the suite sets at this scale, so that what it trained is there; nothing where there is no such suite."""
    suite = params.suites.get("crossings")
    tuned = replace(suite, scale=SCALE).tuned(ENV, "train") if suite else {}
    return [f"train.{key}={value}" for key, value in tuned.items()]


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
    params = load_params()
    named, words = [one_of("method", method, params.entries) for method in methods], as_crossed(params)
    wanted = [cell_of(method, ENV, seed, SCALE, words) for method in named for seed in SEEDS]
    train_missing(wanted, jobs, words)
    print(f"{ENV}, scale {SCALE}: best of the last {LAST} evaluations by seed; the median has to reach {BAR:.0f}")
    all_learn = True
    for method in methods:
        scores = [score(cell) for cell in wanted if cell.method == method]
        median, below = statistics.median(scores), sum(value < BAR for value in scores)
        all_learn &= median >= BAR
        listed = " ".join(f"{value:7.0f}" for value in scores)
        print(f"{method:10}{listed}   median {median:.0f}, {below} of {len(scores)} seeds below the bar")
    return 0 if all_learn else 1
