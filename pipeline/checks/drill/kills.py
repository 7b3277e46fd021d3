"""SIGKILL at random moments, and in the middle of writing a checkpoint; then the same command once more."""

import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import torch

from pipeline.checks.drill.trial import EVERY, OFTEN, Outcome, Run, Target, reference, wait_until
from pipeline.runs.folder import CHECKPOINTS, provenance

TARGETS = [Target(method, env) for method, env in product(("tom", "mbpo", "vagram_ensemble"), ("hopper", "ant"))]
IN_A_WRITE = 4  # every fourth kill
GOES_ON = re.compile(r"goes on from env step (\d+)")


def kills(count: int, jobs: int, seed: int, scratch: Path) -> Iterator[Outcome]:
    """`count` runs killed once each, and how many of them met what."""
    if not count:
        return
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda target: reference(scratch, target), TARGETS))
        timed = [scratch / f"timed-{number}" for number in range(jobs)]
        list(pool.map(lambda folder: Run(folder, TARGETS[0]).done(OFTEN), timed))
        duration = max(provenance(folder)["wall_s"] for folder in timed)  # of the training, without imports
        done = list(pool.map(lambda number: one_kill(number, seed, duration, scratch), range(count)))
    met = Counter(moment for _, moment in done)
    note = ", ".join(f"{moments} {moment}" for moment, moments in sorted(met.items()))
    yield Outcome(f"SIGKILL, at most {EVERY} env steps repeated", sum(passed for passed, _ in done), count, note)


def one_kill(number: int, seed: int, duration: float, scratch: Path) -> tuple[bool, str]:
    """Kills a run, then runs the same command again: whether it ends as an undisturbed run, and what the kill met."""
    draws = random.Random(f"{seed} {number}")
    run = Run(scratch / f"kill-{number}", TARGETS[number % len(TARGETS)])
    while not _killed(run, draws, duration, in_a_write=number % IN_A_WRITE == IN_A_WRITE - 1):
        shutil.rmtree(run.folder, ignore_errors=True)  # the run was faster than the kill
    newest, moment = max(run.checkpoints(), default=None), _moment(run)
    again = run.done(OFTEN)
    went_on = GOES_ON.search(again.stderr)
    found = int(went_on[1]) if went_on else None
    return again.returncode == 0 and found == newest and run.is_like(reference(scratch, run.target)), moment


def _killed(run: Run, draws: random.Random, duration: float, in_a_write: bool) -> bool:
    """Starts the run and kills it; False if it had ended by then."""
    process = run.start(OFTEN)
    if in_a_write:
        earliest = draws.randrange(500)  # env steps
        wait_until(lambda: max(run.checkpoints(), default=0) >= earliest and run.is_writing(), process, poll_s=0.0)
    else:
        wait_until((run.partial / "evals.csv").exists, process)
        time.sleep(draws.uniform(0.0, duration))
    alive = process.poll() is None
    process.kill()
    process.communicate()
    return alive


def _moment(run: Run) -> str:
    """Where in its life the run was killed."""
    if run.is_writing():
        return "in a checkpoint's writing"
    saved = run.checkpoints()
    if not saved:
        return "before the first checkpoint"
    state = run.partial / CHECKPOINTS / f"{saved[-1]:09d}" / "state.pt"
    in_episode = any(torch.load(state, weights_only=True)["episode_steps"])
    return "in an episode" if in_episode else "between episodes"
