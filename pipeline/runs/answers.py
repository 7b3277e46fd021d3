"""From what a command comes to, or fails with, to what it prints and its exit code; the same everywhere."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from pipeline.config.refusals import one_line
from pipeline.runs.folder import Refused
from pipeline.runs.interruptions import Stopped
from tom.settings.fields import SettingsError

GOES_ON = "stopped; what is finished stays, the same command goes on"


def answered(work: Callable[..., int | str | None], *words: Any) -> int:
    """The exit code: that of the work, or 0 where it has none, once the line that it comes to, if any, is printed.

    1 if it failed, 2 for what was asked wrongly, 128 + N where signal N stopped it, each after one sentence.
    """
    try:
        came_to = work(*words)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return stop.code
    except KeyboardInterrupt:
        print(GOES_ON, file=sys.stderr)
        return 130
    except ValueError as error:
        if not isinstance(error, SettingsError):
            from pipeline.analysis.results import ResultsError  # brings pandas, which is there by then

            if not isinstance(error, ResultsError):
                raise
        print(one_line(error), file=sys.stderr)
        return 2
    except (Refused, ArithmeticError, RuntimeError, OSError) as error:
        print(one_line(error), file=sys.stderr)
        return 1
    if isinstance(came_to, str):
        print(came_to, flush=True)
        return 0
    return came_to or 0


def answering(command: Callable[..., int | str | None]) -> Callable[..., int]:
    """The command, `answered`."""
    return partial(answered, command)
