"""What a person sees of a run: a bar on a terminal, else a line now and then, which `said` reads again."""

import re
import sys
import time
from pathlib import Path
from typing import NamedTuple, Self

from tqdm import tqdm

QUIET_S = (2.0, 30.0)  # without a terminal: from one line to the next, more and more of it
SHARE = 0.05  # of the time so far
LINE = re.compile(r": (\d+)/(\d+) env steps(?:, return (-?\d+))?(?:, (\d+) env steps/s, (.+) left)?$")
TAIL_BYTES = 4096


class Said(NamedTuple):
    """What a run said last of itself, as it said it; empty where it did not."""

    env_steps: str
    total: str
    mean_return: str = ""
    rate: str = ""
    left: str = ""


def said(log: Path) -> Said | None:
    """The last such line at the end of a log; None if there is none."""
    if not log.is_file():
        return None
    lines = log.read_bytes()[-TAIL_BYTES:].decode(errors="replace").splitlines()
    found = next(filter(None, map(LINE.search, reversed(lines))), None)
    return Said(*(part or "" for part in found.groups())) if found else None


class Progress:
    """The env steps of one run, with its latest return, speed and the time left, on stderr.

    Speed is that after the warm-up, which is many times faster than what follows: before it nothing is foretold.
    """

    def __init__(self, name: str, total_env_steps: int, begun: int = 0, warmup: int = 0) -> None:
        """`begun` env steps were done by an earlier process."""
        self._name, self._total, self._return, self._warmup = name, total_env_steps, "", warmup
        self._start = self._told = time.perf_counter()
        self._from = (begun, self._start)
        self._bar = tqdm(
            total=total_env_steps,
            initial=begun,
            desc=name,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} env steps{postfix}",
            disable=not sys.stderr.isatty(),
            leave=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._bar.close()

    def at(self, env_steps: int) -> None:
        """The run has come to this step."""
        now = time.perf_counter()
        if env_steps <= self._warmup:
            self._from = (env_steps, now)
        due_s = min(max(SHARE * (now - self._start), QUIET_S[0]), QUIET_S[1])
        if self._bar.disable and now - self._told >= due_s:
            self._told = now
            line = f"{self._name}: {env_steps}/{self._total} env steps{self._told_of(env_steps, now)}"
            print(line, file=sys.stderr, flush=True)
        elif not self._bar.disable:
            self._bar.set_postfix_str(self._told_of(env_steps, now).removeprefix(", "), refresh=False)
            self._bar.update(env_steps - self._bar.n)

    def evaluated(self, env_steps: int, mean_return: float) -> None:
        """An evaluation gave this mean return."""
        self._return = f", return {mean_return:.0f}"
        self.at(env_steps)

    def _told_of(self, env_steps: int, now: float) -> str:
        begun, since = self._from
        if env_steps <= begun or now <= since:
            return self._return
        rate = (env_steps - begun) / (now - since)
        left = (self._total - env_steps) / rate
        return f"{self._return}, {rate:.0f} env steps/s, {left / 60:.0f} min left"
