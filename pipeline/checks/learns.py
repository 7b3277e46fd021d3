"""Does it learn? Methods on HalfCheetah at scale quick, in the runs of the suite `crossings`, or on InvertedPendulum.

A seed's score is the best of its last three evaluations; a method learns if the median over seeds reaches the bar.
An untrained deterministic policy scores about 0 on HalfCheetah and uniform random actions about -280; an episode of
InvertedPendulum that does not fall has 1,000.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from pipeline.analysis.results import read_evaluations
from pipeline.config.params import Params, load_params
from pipeline.config.refusals import one_of
from pipeline.engines.batches import Batch, words_of
from pipeline.engines.engine import task_of
from pipeline.engines.local import Local
from pipeline.engines.training import train_all
from pipeline.files import ROOT
from pipeline.runs.folder import Cell, Refused, State, run_folder, state
from pipeline.suites.returns.cells import cell_of


@dataclass(frozen=True)
class Bar:
    """The median return to be reached over seeds, and the settings of the runs."""

    value: float
    seeds: int
    overrides: tuple[str, ...] = ()


METHODS, SCALE = ("mbpo", "tom"), "quick"
RUNNER, PENDULUM = "halfcheetah", "inverted_pendulum"
BARS = {
    RUNNER: Bar(220.0, 6),
    PENDULUM: Bar(950.0, 3, ("train.total_env_steps=10000",)),
}
LAST = 3  # evaluations


def overrides_of(params: Params, env: str) -> list[str]:
    """What the runs set: where the suite has the environment, that too, so that what it trained is there."""
    suite = params.suites.get("crossings")
    tuned = replace(suite, scale=SCALE).tuned(env, "train") if suite and env in suite.grid.envs else {}
    return [*BARS[env].overrides, *(f"train.{key}={value}" for key, value in tuned.items())]


def score(cell: Cell) -> float:
    """The best of the last evaluations of a finished run."""
    return float(read_evaluations(run_folder(cell, ROOT) / "evals.csv")["return_mean"].tail(LAST).max())


def train_missing(cells: Sequence[Cell], jobs: int, overrides: Sequence[str] = ()) -> None:
    """Trains the cells that runs/ lacks, with overrides that their settings hold; Refused says why any failed."""
    untrained = [cell for cell in cells if state(run_folder(cell, ROOT), cell) is not State.FINISHED]

    def command(one: Batch) -> list[str]:
        return ["pipeline.train", *words_of(one), *overrides, "tracking=off"]

    tasks = [task_of([cell], command, lambda cell: run_folder(cell, ROOT)) for cell in untrained]
    if failed := train_all(tasks, Local(jobs=jobs)):
        raise Refused("; ".join(failed.values()))


def scores(methods: Sequence[str], env: str, jobs: int) -> dict[str, list[float]]:
    """By method the scores of its runs, trained where they are not; SettingsError for a method that is not there."""
    params = load_params()
    words, runs = overrides_of(params, env), dict[str, list[Cell]]()
    for method in methods:
        one_of("method", method, params.entries)
        runs[method] = [cell_of(method, env, seed, SCALE, words) for seed in range(BARS[env].seeds)]
    train_missing(list(chain(*runs.values())), jobs, words)
    return {method: [score(cell) for cell in cells] for method, cells in runs.items()}


def learns(methods: Sequence[str], pendulum: bool, jobs: int) -> int:
    """0 if every method learns; the table says which seeds did not. SettingsError for a method that is not there."""
    env = PENDULUM if pendulum else RUNNER
    found, bar, all_learn = scores(methods or METHODS, env, jobs), BARS[env].value, True
    print(f"{env}, scale {SCALE}: best of the last {LAST} evaluations by seed; the median has to reach {bar:.0f}")
    for method, reached in found.items():
        median, below = statistics.median(reached), sum(value < bar for value in reached)
        all_learn &= median >= bar
        listed = " ".join(f"{value:7.0f}" for value in reached)
        print(f"{method:10}{listed}   median {median:.0f}, {below} of {len(reached)} seeds below the bar")
    return 0 if all_learn else 1
