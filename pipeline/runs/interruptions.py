"""How a run is stopped from outside: by a signal, which it answers between two steps, or with the process above it."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)  # schedulers warn with one of these
REPEAT_S = 30.0  # schedulers, the shells of jobs and die_with_parent say the same thing each
SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "fish"}
LOOK_S = 0.5
DIES_WITH_PARENT = "TOM_DIES_WITH_PARENT"  # in the environment: for a process that something else started


class Stopped(Exception):
    """A run that was asked to stop, and has saved where it is."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.code = 128 + number  # as shells and schedulers report an end by a signal


class Interruptions:
    """While this is entered the first signal is taken note of, and what follows is the same request.

    A signal acts as it always does when it comes again after REPEAT_S, SIGINT at once: a key pressed again is meant.
    """

    noted = False  # whether one is, in this process

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.number: int | None = None
        self._clock, self._first, self._before = clock, dict[int, float](), dict[int, Any]()

    def __enter__(self) -> Self:
        Interruptions.noted = False
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        Interruptions.noted = kind is Stopped

    def _note(self, number: int, frame: FrameType | None) -> None:
        late = self._clock() - self._first.setdefault(number, self._clock()) > REPEAT_S
        if late or number == signal.SIGINT:
            signal.signal(number, self._before[number])
        if late:
            signal.raise_signal(number)
        self.number, Interruptions.noted = self.number or number, True


def die_with_parent() -> None:
    """Sends this process SIGTERM once the process that started it is gone; shells in between do not count.

    Says nothing while a signal is noted: who ends a job ends the parent too, and the run is about to be saved.
    """
    watched = [os.getppid()]
    while (above := _stat(watched[-1]))[0] in SHELLS and above[1] > 1:
        watched.append(above[1])
    births = {pid: birth(pid) for pid in watched}

    def watch() -> None:
        while all(birth(pid) == born for pid, born in births.items()) and os.getppid() == watched[0]:
            time.sleep(LOOK_S)
        while Interruptions.noted:
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _stat(pid: int) -> tuple[str, int, str]:
    """Name, parent and birth of a process, from /proc/<pid>/stat; nothing of one that is not there, or without /proc.

    A zombie was never born.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", 0, ""
    name, _, rest = text.partition("(")[2].rpartition(")")
    state, parent, *fields = rest.split()
    return name, int(parent), "" if state in "ZX" else fields[17]


def birth(pid: int) -> str:
    """When the process started; empty for one that is gone or a zombie."""
    return _stat(pid)[2]
