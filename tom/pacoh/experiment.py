"""The whole experiment: data of train tasks, then every arm on the same test tasks, with the same luck.

Data come from the arm without a learned prior, which plays the train tasks as if each were new. What the arms are
compared by: errors after the same few rows of each test task, and episodes, each followed by an adaptation.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tom.core.finite import check_finite
from tom.core.replay import take
from tom.core.streams import streams
from tom.families.base import flat
from tom.pacoh.arms import PlainPrior
from tom.pacoh.bench import CPU, Bench
from tom.settings.experiments.pacoh import CURVE_ROWS
from tom.settings.pacoh import MetaSettings

ORACLE = "oracle"


@dataclass(frozen=True)
class Measurement:
    """Numbers of an arm on each test task, [R, T], after `count` rows or before so many earlier episodes."""

    arm: str
    by: str  # rows | episodes
    count: int
    numbers: dict[str, Tensor]


@dataclass(frozen=True)
class Place:
    """A piece of work is done: it can stop here and go on later."""

    done: int
    of: int
    state: Callable[[], dict[str, Any]]  # what `experiment(..., state=)` goes on from; saved before the next piece


def experiment(
    settings: MetaSettings, seeds: Sequence[int], state: dict[str, Any] | None = None
) -> Iterator[Measurement | Place]:
    """Runs R = len(seeds) replicas, each with tasks of its own; with the state of an earlier Place it goes on there.

    SettingsError where test tasks are train tasks; Diverged for numbers that are not finite.
    """
    torch.set_flush_denormal(True)
    whole = Experiment(settings, seeds)
    if state is not None:
        whole.load_state_dict(state)
    pieces = whole.pieces()
    for piece in pieces[whole.done :]:
        for found in piece():
            sums = {f"{name} of {found.arm}": value.sum(1).double().numpy() for name, value in found.numbers.items()}
            check_finite(whole.done, {}, sums)
            yield found
        whole.done += 1
        yield Place(whole.done, len(pieces), whole.state_dict)


class Experiment(Bench):
    """Pieces of work in order, of which so many are done."""

    def pieces(self) -> list[Callable[[], Iterator[Measurement]]]:
        """Everything there is to do."""
        looked = self.steps if self.oracle() is None else 2 * self.steps
        found: list[Callable[[], Iterator[Measurement]]] = [
            partial(self.collect, episode) for episode in range(self.counts.train_episodes)
        ]
        found.append(self.look)
        for name in self.settings.arms:
            found.append(partial(self.begin, name))
            found += [partial(self.learn, piece) for piece in range(self.kind_of(name).pieces(self.settings))]
            found += [partial(self.look_after, rows) for rows in CURVE_ROWS if rows <= looked // 2]
            found += [partial(self.trial, episode) for episode in range(self.counts.test_episodes)]
        return found

    def collect(self, episode: int) -> Iterator[Measurement]:
        """An episode of every train task: uniform actions, then plans without a learned prior."""
        worlds, planner = self.family.worlds(flat(self.train)), None
        if episode:
            before = self.rows["train"]
            plain = PlainPrior(self.settings, self.by_task(before), self.counts.train_tasks, streams(self.seeds, CPU))
            planner = self.planner(plain.adapted(before, torch.zeros(before.data.shape[1], dtype=torch.int64)))
        self.add("train", self.play(worlds, planner, "collect")[0])
        yield from ()

    def look(self) -> Iterator[Measurement]:
        """Rows of every test task that no arm acts for: of an oracle, where the true step is known, and at random."""
        worlds, oracle = self.family.worlds(flat(self.test)), self.oracle()
        if oracle is not None:
            rows, returns = self.play(worlds, oracle, "look")
            self.add("look", rows)
            yield Measurement(ORACLE, "episodes", 0, {"return": self.by_seed(returns)})
        self.add("look", self.play(worlds, None, "look")[0])
        rows = self.rows["look"]
        self.rows["look"] = rows.like(take(rows.data, self.streams["look"].permutation(rows.data.shape[1])))

    def begin(self, name: str) -> Iterator[Measurement]:
        """Another arm, which has no rows of test tasks."""
        self.take_up(name)
        self.rows.pop("own", None)
        yield from ()

    def learn(self, piece: int) -> Iterator[Measurement]:
        """A piece of what the arm learns from train tasks."""
        self.at_hand.learn(piece)
        yield from ()

    def look_after(self, count: int) -> Iterator[Measurement]:
        """The arm's errors after so many rows of each test task."""
        rows = self.rows["look"]
        shown = rows.like(rows.data[:, :count])
        yield Measurement(self.name, "rows", count, self.errors(self.at_hand.adapted(shown, torch.zeros(count).long())))

    def trial(self, episode: int) -> Iterator[Measurement]:
        """An episode in every test task, after an adaptation to the rows of those before."""
        own = self.rows.get("own") or self.rows["look"].like(self.rows["look"].data[:, :0])
        model = self.at_hand.adapted(own, torch.arange(episode).repeat_interleave(self.steps))
        found = self.errors(model)
        rows, returns = self.play(self.family.worlds(flat(self.test)), self.planner(model), "play")
        self.add("own", rows)
        yield Measurement(self.name, "episodes", episode, {"return": self.by_seed(returns), **found})
