"""From what a command comes to, or fails with, to what it prints and its exit code; the same everywhere."""

import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from pipeline.config.refusals import one_line
from pipeline.runs.interruptions import Stopped

GOES_ON = "stopped; what is finished stays, the same command goes on"
OWN = ("pipeline", "tom")  # packages whose errors say in one sentence what is wrong
FAILURES = (ArithmeticError, RuntimeError, OSError)


def answered(work: Callable[..., int | str | None], *words: Any) -> int:
    """The exit code: that of the work, or 0 where it has none, once the line that it comes to, if any, is printed.

    1 if it failed, 2 for what was asked wrongly, 128 + N where signal N stopped it, each after what is `told`.
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
        if not is_own(error):
            raise
        told(error)
        return 2
    except FAILURES as error:
        told(error)
        return 1
    if isinstance(came_to, str):
        print(came_to, flush=True)
        return 0
    return came_to or 0


def told(error: Exception) -> None:
    """Prints one sentence; before it where the error is from, if it is one of Python's or torch's RuntimeErrors."""
    if isinstance(error, RuntimeError) and not is_own(error):
        traceback.print_exception(error)
    print(one_line(error), file=sys.stderr)


def is_own(error: Exception) -> bool:
    """Whether the class of the error is this project's, so that its message is for whoever typed the command."""
    return type(error).__module__.partition(".")[0] in OWN


def answering(command: Callable[..., int | str | None]) -> Callable[..., int]:
    """The command, `answered`."""
    return partial(answered, command)
