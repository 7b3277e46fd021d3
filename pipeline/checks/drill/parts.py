"""Nothing is lost: what happens to runs, done to real ones.

Prints a line for every kind of fault: how many of the trials ended as they should. Exit code 0 if all did. Minutes: a
trial is a run at scale smoke that is disturbed, gone on with, and compared byte for byte with an undisturbed one.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pipeline.checks.drill.faults import faults
from pipeline.checks.drill.kills import kills
from pipeline.checks.drill.rubbish import rubbish
from pipeline.checks.drill.trial import Outcome
from pipeline.checks.drill.twice import twice
from pipeline.checks.drill.until import until
from pipeline.checks.drill.writers import writers
from pipeline.config.refusals import one_of

PARTS: dict[str, Callable[[int, int, int, Path], Iterator[Outcome]]] = {
    "rubbish": lambda count, jobs, seed, scratch: rubbish(jobs, seed),
    "faults": lambda count, jobs, seed, scratch: faults(scratch),
    "writers": lambda count, jobs, seed, scratch: writers(seed, scratch),
    "twice": lambda count, jobs, seed, scratch: twice(jobs, scratch),
    "until": lambda count, jobs, seed, scratch: until(jobs, seed, scratch),
    "kills": kills,
}


def drilled(count: int, jobs: int, seed: int, only: str | None = None) -> int:
    """0 if every trial ended as it should, 1 if one did not."""
    parts = list(PARTS) if only is None else [one_of("only", only, PARTS)]
    passed = True
    with tempfile.TemporaryDirectory(prefix="drill-") as scratch:
        for outcome in drill(count, jobs, seed, Path(scratch), parts):
            print(outcome, flush=True)
            passed &= outcome.passed == outcome.trials
    return 0 if passed else 1


def drill(count: int, jobs: int, seed: int, scratch: Path, parts: Iterable[str] = PARTS) -> Iterator[Outcome]:
    """These parts of the drill, the quick ones first."""
    for part in parts:
        yield from PARTS[part](count, jobs, seed, scratch)
