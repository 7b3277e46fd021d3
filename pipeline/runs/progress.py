"""What a person sees of a run: a bar on a terminal, else a line now and then."""

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

QUIET_S = 30.0  # without a terminal: at most one line in this time


class Progress:
    """The env steps of one run, with its latest return, speed and the time left, on stderr."""

    def __init__(self, name: str, total_env_steps: int, begun: int = 0) -> None:
        """`begun` env steps were done by an earlier process."""
        self._name, self._total, self._begun = name, total_env_steps, begun
        self._start = self._said = time.perf_counter()
        self._bar = tqdm(
            total=total_env_steps,
            initial=begun,
            desc=name,
            unit=" env steps",
            disable=not sys.stderr.isatty(),
            leave=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def at(self, env_steps: int) -> None:
        """The run has come to this step."""
        if not self._bar.disable:
            self._bar.update(env_steps - self._bar.n)

    def evaluated(self, env_steps: int, mean_return: float) -> None:
        """An evaluation gave this mean return."""
        self.at(env_steps)
        self._bar.set_postfix_str(f"return {mean_return:.0f}")
        now = time.perf_counter()
        if self._bar.disable and now - self._said >= QUIET_S and env_steps > self._begun:
            self._said = now
            rate = (env_steps - self._begun) / (now - self._start)
            left = (self._total - env_steps) / rate
            print(
                f"{self._name}: {env_steps}/{self._total} env steps, return {mean_return:.0f}, "
                f"{rate:.0f} env steps/s, {left / 60:.0f} min left",
                file=sys.stderr,
                flush=True,
            )
