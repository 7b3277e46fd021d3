"""Nothing is lost: what happens to runs, done to real ones.

    python -m pipeline.checks.drill [kills=100] [jobs=N] [seed=0] [only=until]

Prints a line for every kind of fault: how many of the trials ended as they should. Exit code 0 if all did. Minutes: a
trial is a run at scale smoke that is disturbed, gone on with, and compared byte for byte with an undisturbed one.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.checks.drill.faults import faults
from pipeline.checks.drill.kills import kills
from pipeline.checks.drill.rubbish import rubbish
from pipeline.checks.drill.trial import Outcome
from pipeline.checks.drill.twice import twice
from pipeline.checks.drill.until import until
from pipeline.config.refusals import key_values, one_line, one_of, whole_number
from tom.settings.fields import SettingsError

KEYS = ("kills", "jobs", "seed", "only")
PARTS = ("rubbish", "faults", "twice", "until", "kills")


def main(argv: Sequence[str] | None = None) -> int:
    """0 if every trial ended as it should, 1 if one did not, 2 for arguments that cannot be used."""
    try:
        given = key_values(sys.argv[1:] if argv is None else argv, KEYS)
        count = whole_number("kills", given.get("kills", "100"), low=0)
        jobs = whole_number("jobs", given.get("jobs", str(os.cpu_count() or 1)), low=1)
        seed = whole_number("seed", given.get("seed", "0"), low=0)
        parts = [one_of("only", given["only"], PARTS)] if "only" in given else PARTS
    except SettingsError as error:
        print(one_line(error), file=sys.stderr)
        return 2
    passed = True
    with tempfile.TemporaryDirectory(prefix="drill-") as scratch:
        for outcome in drill(count, jobs, seed, Path(scratch), parts):
            print(outcome, flush=True)
            passed &= outcome.passed == outcome.trials
    return 0 if passed else 1


def drill(count: int, jobs: int, seed: int, scratch: Path, parts: Sequence[str] = PARTS) -> Iterator[Outcome]:
    """These parts of the drill, the quick ones first."""
    every = {
        "rubbish": lambda: rubbish(jobs, seed, scratch),
        "faults": lambda: faults(scratch),
        "twice": lambda: twice(jobs, scratch),
        "until": lambda: until(jobs, seed, scratch),
        "kills": lambda: kills(count, jobs, seed, scratch),
    }
    for part in parts:
        yield from every[part]()


if __name__ == "__main__":
    sys.exit(main())
