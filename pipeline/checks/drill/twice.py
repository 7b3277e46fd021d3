"""The same seed gives the same bytes in two processes, with one thread and with two."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

from pipeline.checks.drill.trial import Outcome, Run, Target, outcome_of, reference

METHODS = (
    "tom",
    "mbpo",
    "pmac",
    "vagram_mdn",
    "vagram_ensemble",
    "ma",
    "maac",
    "ampl",
    "ampl_official",
    "rama",
    "rama_learned",
    "moto",
    "planner",
)
ENVS = ("hopper", "walker2d", "halfcheetah", "ant", "humanoid")


def twice(jobs: int, scratch: Path) -> Iterator[Outcome]:
    """Every method of the paper, and what was set beside them, on every environment, two processes each."""
    targets = [Target(method, env) for method, env in product(METHODS, ENVS)]
    what = "same bytes in two processes, 1 and 2 threads"
    yield outcome_of(what, lambda target: _equal(target, scratch), targets, jobs)


def _equal(target: Target, scratch: Path) -> bool:
    run = Run(scratch / "twice" / f"{target.method}-{target.env}", target)
    done = run.done(OMP_NUM_THREADS="2", MKL_NUM_THREADS="2")
    return done.returncode == 0 and run.is_like(reference(scratch, target))
