"""Two processes that train the same run where no lock keeps them apart: never a finished run that is not whole."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.checks.drill.trial import LONGEST_S, OFTEN, Outcome, Process, Run, in_one_sentence, wait_until
from pipeline.runs.folder import OWNER

TRIALS = 20
LONGER = "train.total_env_steps=1500"  # so that the second process is there before the first is through
NO_LOCK = "import fcntl\nfcntl.flock = lambda *words: None\n"
ELSEWHERE = NO_LOCK + (
    "import pipeline.runs.owner as owner\n"
    "owner._here = lambda: dict(host='elsewhere', boot='another', pid_namespace='another')\n"
)
Meeting = Callable[[Run, Process, random.Random], Process]


def writers(seed: int, scratch: Path) -> Iterator[Outcome]:
    """Each way in which they can meet, one after the other, at random moments."""
    whole = scratch / "writers" / "whole"
    assert Run(whole).done(LONGER).returncode == 0
    met = Counter[str]()
    runs = [Run(scratch / "writers" / str(number) / "run") for number in range(TRIALS)]
    passed = sum(_one(number, seed, run, whole, met) for number, run in enumerate(runs))
    note = ", ".join(f"{count} {what}" for what, count in sorted(met.items()))
    yield Outcome("two writers without a lock: one finishes, whole", passed, TRIALS, note)


def at_once(run: Run, first: Process, draws: random.Random) -> Process:
    """Both are started on one machine, within a second."""
    time.sleep(draws.uniform(0.0, 1.0))
    return run.start(OFTEN, LONGER, prelude=NO_LOCK)


def from_elsewhere(run: Run, first: Process, draws: random.Random) -> Process:
    """The second comes from another machine while the first trains."""
    _come_to(draws.randrange(600), run, first)
    return run.start(OFTEN, LONGER, prelude=ELSEWHERE)


def while_it_slept(run: Run, first: Process, draws: random.Random) -> Process:
    """The first is held up, is taken for gone, and wakes at some moment of the second."""
    _come_to(draws.randrange(600), run, first)
    first.send_signal(signal.SIGSTOP)
    os.utime(run.partial / OWNER, (0, 0))
    known = run.checkpoints()
    second = run.start(OFTEN, LONGER, prelude=ELSEWHERE)
    later = max(known) + draws.randrange(300)
    wait_until(lambda: max(set(run.checkpoints()) - set(known), default=0) > later, second)
    first.send_signal(signal.SIGCONT)
    return second


def after_deletion(run: Run, first: Process, draws: random.Random) -> Process:
    """What the first has is deleted under it, its lock too, and the run started again."""
    _come_to(draws.randrange(600), run, first)
    while run.folder.parent.exists():
        with suppress(OSError):  # it writes meanwhile
            shutil.rmtree(run.folder.parent)
    return run.start(OFTEN, LONGER, prelude=NO_LOCK)


MEETINGS: tuple[Meeting, ...] = (at_once, from_elsewhere, while_it_slept, after_deletion)


def _one(number: int, seed: int, run: Run, whole: Path, met: Counter[str]) -> bool:
    meeting = MEETINGS[number % len(MEETINGS)]
    run.folder.parent.mkdir(parents=True)
    first = run.start(OFTEN, LONGER, prelude=NO_LOCK)
    second = meeting(run, first, random.Random(f"{seed} {number}"))
    said = [process.communicate(timeout=LONGEST_S)[1].strip().splitlines()[-1:] for process in (first, second)]
    codes = first.returncode, second.returncode
    finished = dict(zip(codes, ("first", "second"), strict=True)).get(0)
    met[f"{meeting.__name__.replace('_', ' ')}: {finished} finished"] += 1
    if sorted(codes) != [0, 1] or not run.is_like(whole):
        print(f"{meeting.__name__}: codes {codes}, said {said}, whole: {run.is_like(whole)}", flush=True)
        return False
    (refusal,) = said[codes.index(1)]
    return in_one_sentence(refusal) and str(run.folder) in refusal


def _come_to(env_steps: int, run: Run, process: Process) -> None:
    wait_until(lambda: max(run.checkpoints(), default=0) >= max(env_steps, 1), process)
