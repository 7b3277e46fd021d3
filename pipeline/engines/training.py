"""Training tasks on an engine: what is said meanwhile, how long it still takes, what a signal does."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pipeline.engines.engine import Engine, News, State, Task
from pipeline.engines.estimate import in_words, makespan
from pipeline.engines.live import View
from pipeline.runs.answers import GOES_ON
from pipeline.runs.interruptions import Interruptions, Stopped

QUEUED = ("", "None", "Priority", "Resources", "JobArrayTaskLimit")  # why a task waits that nobody needs to know


def train_all(
    tasks: Sequence[Task],
    engine: Engine,
    running_are: Callable[[list[Task]], None] = lambda tasks: None,
    ended: Callable[[News], None] = lambda news: None,
) -> dict[str, str]:
    """Trains the tasks; returns the reason of each cell that failed, by name.

    Where a task of several cells fails, those of them that `is_made` knows did not. `running_are` is called with those
    that train whenever they are others, `ended` with each that ended. Stopped after a signal, once all have saved.
    """
    training = Training(tasks, engine, engine.slots() if tasks else 1)
    number = None
    with Interruptions() as asked, View() as view:
        try:
            engine.begin(tasks)
            while training.left(stopping=number is not None):
                if number is None and asked.number is not None:
                    number = asked.number
                    engine.stop(number)
                before, news = list(training.running), list(engine.look())
                for each in news:
                    training.heard(each, number is not None)
                if list(training.running) != before:
                    running_are(list(training.running))
                for each in news:
                    if each.state is State.ENDED:
                        ended(each)
                view.show(list(training.running), training.summary(), news=bool(news))
                if not news:
                    time.sleep(engine.look_s)
        finally:
            engine.close()
    if number is not None:
        raise Stopped(number, GOES_ON)
    return training.failed


@dataclass
class Training:
    """What is known of tasks while they train."""

    tasks: Sequence[Task]
    engine: Engine
    slots: int
    running: dict[Task, float] = field(default_factory=dict)  # and since when
    places: dict[Task, str] = field(default_factory=dict)
    whys: dict[Task, str] = field(default_factory=dict)
    took: dict[Task, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def left(self, stopping: bool) -> bool:
        """Whether anything is still to come; once it is to stop, from those that train alone."""
        return bool(self.running) if stopping else len(self.took) < len(self.tasks)

    def heard(self, news: News, stopping: bool = False) -> None:
        """Takes note, and prints a line if it is worth one."""
        task, now = news.task, time.monotonic()
        if news.state is State.WAITS:
            ran = self.running.pop(task, None) is not None
            if ran or (news.why not in QUEUED and news.why != self.whys.get(task)):
                print(f"{task.name}: waits{' again' if ran else ''}{f' ({news.why})' if news.why else ''}", flush=True)
            self.whys[task] = news.why
        elif news.state is State.RUNS:
            self.running.setdefault(task, now)
            if task in self.places:
                print(f"{task.name}: again, on {news.where} (before on {self.places[task]})", flush=True)
            self.places |= {task: news.where} if news.where else {}
        else:
            self.took[task] = now - self.running.pop(task, now)
            if news.code and not stopping:
                alone = len(task.cells) == 1
                self.failed |= {cell.name: news.line for cell in task.cells if alone or not task.is_made(cell)}
            self._say(news, stopping)

    def summary(self) -> str:
        """How many ended, failed and wait, and the time left, in one line."""
        waiting = len(self.tasks) - len(self.took) - len(self.running)
        left = self.left_s()
        more = "" if left is None else f", {in_words(left)} left"
        return f"{len(self.took)} of {len(self.tasks)} ended, {len(self.failed)} failed, {waiting} waiting{more}"

    def _say(self, news: News, stopping: bool) -> None:
        failed = "FAILED " if news.code and not stopping else ""
        where = f" on {self.places[news.task]}" if news.task in self.places else ""
        left = self.left_s()
        more = "" if left is None or stopping else f" ({in_words(left)} left)"
        print(f"[{len(self.took)}/{len(self.tasks)}] {failed}{news.line}{where}{more}", flush=True)

    def left_s(self) -> float | None:
        """Seconds until the last is expected to end; None once all have, or before one has if nothing was expected.

        How long tasks took, by what was expected of them, scales what is expected of the others; where nothing was,
        all are alike.
        """
        expected = {task: task.seconds or 1.0 for task in self.tasks}
        known = all(task.seconds for task in self.tasks)
        done = [task for task in self.took if task.name not in self.failed] or list(self.took)
        if len(self.took) == len(self.tasks) or (not done and not known):
            return None
        scale = sum(self.took[task] for task in done) / sum(expected[task] for task in done) if done else 1.0
        now = time.monotonic()
        begun = [max(0.0, scale * expected[task] - (now - since)) for task, since in self.running.items()]
        waiting = [scale * expected[t] for t in self.tasks if t not in self.took and t not in self.running]
        return makespan(waiting, max(self.slots, len(begun)), begun)
