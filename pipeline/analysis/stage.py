"""The command of a stage that makes tables or figures from files: a line on what it wrote, or on why it could not."""

import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.analysis.results import ResultsError

DIGITS = "%.10g"  # well above what the statistics mean, below where machines differ
Maker = Callable[[Path], Path]  # from the repository's root to what was written there


def tabulated(stage: str, make: Maker, errors: tuple[type[Exception], ...] = (ResultsError,)) -> int:
    """Exit status: 0, or 1 after one line that names what is missing or broken."""
    try:
        print(f"wrote {make(Path('.'))}")
    except errors as error:
        print(f"{stage}: {error}", file=sys.stderr)
        return 1
    return 0


def drawn(stage: str, make: Maker, first: str) -> int:
    """Exit status: 0, or 1 after one line that names the missing table and the module that makes it."""
    try:
        print(f"wrote {make(Path('.'))}")
    except FileNotFoundError as error:
        print(f"{stage}: {error.filename} is missing: run python -m {first} first", file=sys.stderr)
        return 1
    return 0
