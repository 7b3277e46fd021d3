"""A run while it trains: records to files and tracking, checkpoints in time, an answer to signals."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.interruptions import Interruptions, Stopped
from pipeline.progress import Progress
from pipeline.records import EVAL, Writer
from pipeline.run_folder import FAILURE, Cell


class Clocks:
    """The wall and processor seconds of a run, over all the times it was started."""

    def __init__(self, wall_s: float, cpu_s: float) -> None:
        self._wall, self._cpu = time.perf_counter() - wall_s, time.process_time() - cpu_s

    @property
    def wall_s(self) -> float:
        return time.perf_counter() - self._wall

    @property
    def cpu_s(self) -> float:
        return time.process_time() - self._cpu


@dataclass
class Run:
    """A run while it trains: where its records go, when it is saved, and who may stop it."""

    cell: Cell
    folder: Path
    tracking: Any
    checkpoints: Any
    interruptions: Interruptions
    clocks: Clocks

    def train(self, device: str, state: dict[str, Any] | None) -> float:
        """Runs the science, from the state if there is one; returns the last evaluation's mean return.

        Stopped, with everything saved, after a signal; ArithmeticError, with the numbers in failure.json.
        """
        from tom.settings.agent import agent_settings
        from tom.train import Evaluation, Final, Round, train

        total = self.cell.config["train"]["total_env_steps"]
        records = train(agent_settings(self.cell.config), [self.cell.seed], device, state)
        begun = state["env_steps"] if state else 0
        with Writer(self.folder, self.clocks.wall_s) as writer, Progress(self.cell.name, total, begun) as progress:
            try:
                for record in records:
                    if isinstance(record, Evaluation):
                        numbers = writer.evaluation(record.env_steps, record.returns[0], record.lengths[0])
                        named = {EVAL + name: value for name, value in numbers.items()}
                        self.tracking.log(named, record.env_steps)
                        progress.evaluated(record.env_steps, numbers["return_mean"])
                    elif isinstance(record, Round):
                        numbers = {name: float(values[0]) for name, values in record.numbers.items()}
                        writer.round(record.env_steps, numbers)
                        self.tracking.log(numbers, record.env_steps)
                        progress.at(record.env_steps)
                    elif isinstance(record, Final):
                        writer.policy({name: values[0] for name, values in record.policy.items()})
                    else:
                        self.between_steps(record.env_steps, record.state)
            except ArithmeticError as error:
                self.note_failure(error)
                raise
            return writer.last_return

    def between_steps(self, env_steps: int, state: Callable[[], dict[str, Any]]) -> None:
        """Saves the run when it is time to, or when it was asked to stop; never a state that has diverged."""
        number = self.interruptions.number
        if number is None and not self.checkpoints.due(env_steps):
            return
        from tom.checkpoint import is_finite

        found = state()
        saved = is_finite(found) and self.checkpoints.save(env_steps, found, self.clocks.wall_s, self.clocks.cpu_s)
        if number is not None:
            place = "there" if saved else "its last checkpoint"
            where = f"stopped at env step {env_steps}; the same command goes on from {place}"
            raise Stopped(number, f"{self.cell.name}: {where}")

    def note_failure(self, error: ArithmeticError) -> None:
        """Leaves what is known of numbers that are not finite beside the last good checkpoint."""
        numbers = {name: [str(value) for value in values] for name, values in getattr(error, "numbers", {}).items()}
        known = {"env_steps": getattr(error, "env_steps", None), "not_finite": getattr(error, "where", [])}
        found = {"failure": str(error), **known, "numbers": numbers}
        (self.folder / FAILURE).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
