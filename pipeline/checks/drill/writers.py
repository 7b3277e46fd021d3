"""Two processes that train the same run where no lock keeps them apart: never a finished run that is not whole."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from pipeline.checks.drill.trial import (
    LONGEST_S,
    OFTEN,
    Outcome,
    Target,
    checkpoints,
    in_one_sentence,
    run,
    same,
    start,
    wait_until,
)
from pipeline.runs.folder import OWNER, beside

TRIALS = 20
TARGET = Target()
LONGER = "train.total_env_steps=1500"  # so that the second process is there before the first is through
NO_LOCK = "import fcntl\nfcntl.flock = lambda *words: None\n"
ELSEWHERE = NO_LOCK + (
    "import pipeline.runs.owner as owner\n"
    "owner._here = lambda: dict(host='elsewhere', boot='another', pid_namespace='another')\n"
)
Process: TypeAlias = "subprocess.Popen[str]"
Meeting = Callable[[Path, Process, random.Random], Process]


def writers(seed: int, scratch: Path) -> Iterator[Outcome]:
    """Each way in which they can meet, one after the other, at random moments."""
    whole = scratch / "writers" / "whole"
    assert run(TARGET.command(whole, LONGER)).returncode == 0
    met = Counter[str]()
    passed = sum(_one(number, seed, scratch / "writers" / str(number) / "run", whole, met) for number in range(TRIALS))
    note = ", ".join(f"{count} {what}" for what, count in sorted(met.items()))
    yield Outcome("two writers without a lock: one finishes, whole", passed, TRIALS, note)


def at_once(folder: Path, first: Process, draws: random.Random) -> Process:
    """Both are started on one machine, within a second."""
    time.sleep(draws.uniform(0.0, 1.0))
    return _begin(folder, NO_LOCK)


def from_elsewhere(folder: Path, first: Process, draws: random.Random) -> Process:
    """The second comes from another machine while the first trains."""
    _come_to(draws.randrange(600), folder, first)
    return _begin(folder, ELSEWHERE)


def while_it_slept(folder: Path, first: Process, draws: random.Random) -> Process:
    """The first is held up, is taken for gone, and wakes at some moment of the second."""
    _come_to(draws.randrange(600), folder, first)
    first.send_signal(signal.SIGSTOP)
    os.utime(beside(folder, ".partial") / OWNER, (0, 0))
    known = checkpoints(folder)
    second = _begin(folder, ELSEWHERE)
    later = max(known) + draws.randrange(300)
    wait_until(lambda: max(set(checkpoints(folder)) - set(known), default=0) > later, second)
    first.send_signal(signal.SIGCONT)
    return second


def after_deletion(folder: Path, first: Process, draws: random.Random) -> Process:
    """What the first has is deleted under it, its lock too, and the run started again."""
    _come_to(draws.randrange(600), folder, first)
    while folder.parent.exists():
        with suppress(OSError):  # it writes meanwhile
            shutil.rmtree(folder.parent)
    return _begin(folder, NO_LOCK)


MEETINGS: tuple[Meeting, ...] = (at_once, from_elsewhere, while_it_slept, after_deletion)


def _one(number: int, seed: int, folder: Path, whole: Path, met: Counter[str]) -> bool:
    meeting = MEETINGS[number % len(MEETINGS)]
    folder.parent.mkdir(parents=True)
    first = _begin(folder, NO_LOCK)
    second = meeting(folder, first, random.Random(f"{seed} {number}"))
    said = [process.communicate(timeout=LONGEST_S)[1].strip().splitlines()[-1:] for process in (first, second)]
    codes = first.returncode, second.returncode
    finished = dict(zip(codes, ("first", "second"), strict=True)).get(0)
    met[f"{meeting.__name__.replace('_', ' ')}: {finished} finished"] += 1
    if sorted(codes) != [0, 1] or not same(folder, whole):
        print(f"{meeting.__name__}: codes {codes}, said {said}, whole: {same(folder, whole)}", flush=True)
        return False
    (refusal,) = said[codes.index(1)]
    return in_one_sentence(refusal) and str(folder) in refusal


def _begin(folder: Path, prelude: str) -> Process:
    return start(TARGET.command(folder, OFTEN, LONGER, prelude=prelude))


def _come_to(env_steps: int, folder: Path, process: Process) -> None:
    wait_until(lambda: max(checkpoints(folder), default=0) >= max(env_steps, 1), process)
