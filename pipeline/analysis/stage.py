"""The command of a stage that makes something from files: a line on what it made, or on why it could not."""

import sys
from collections.abc import Callable
from pathlib import Path

DIGITS = "%.10g"  # well above what the statistics mean, below where machines differ


def made(stage: str, make: Callable[[Path], Path]) -> None:
    """Says what was made; ends the process with 1, after one line that names what is missing or broken.

    `make` gets the repository's root and returns what it replaced there; ValueError: a file is not as it must be.
    """
    try:
        print(f"made {make(Path('.'))}")
    except FileNotFoundError as error:
        sys.exit(f"{stage}: {error.filename} is missing: tom repro makes it")
    except (ValueError, KeyError) as error:
        sys.exit(f"{stage}: {' '.join(str(error).split())}")
