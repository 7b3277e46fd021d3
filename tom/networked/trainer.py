"""A round of DMPO (Du et al., 2022): collect, refit the agents' models, improve policies on short joint rollouts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tom.core.finite import Diverged, check_finite
from tom.core.replay import draw
from tom.core.streams import streams
from tom.networked import learner, models
from tom.networked.binary import Binary
from tom.networked.cacc import Platoon
from tom.networked.learner import Learner
from tom.networked.models import Models
from tom.networked.world import Act, Steps, Trajectories, World, at, rollout, uniform_act
from tom.settings.experiments.networked import Settings
from tom.settings.network import NetworkSettings
from tom.train import Evaluation, Round, on_host

CPU = torch.device("cpu")  # the networks are small


def world_of(scenario: str, settings: Settings) -> World:
    """The world with this name, of AGENTS in tom/settings/experiments/networked.py."""
    return Binary() if scenario == "binary" else Platoon(scenario, settings)


class NetworkTrainer:
    """R networks of agents in the middle of a run."""

    def __init__(self, settings: NetworkSettings, seeds: Sequence[int]):
        loop, self.replicas = settings.train, len(seeds)
        self.loop, self.env_steps, self.rounds = loop, 0, 0
        self.streams = streams(seeds, CPU)
        self.world = world_of(settings.env, loop)
        self.learner = Learner(loop, self.world, self.replicas, self.streams["init"])
        self.models, self.warmup_rounds = None, 0
        if loop.model == "learned":
            self.models = Models(settings, self.world, self.replicas, self.streams["init"])
            self.warmup_rounds = loop.warmup_episodes // loop.episodes

    def round(self) -> Round:
        """One round: episodes, a refit, bursts of PPO; numbers are NaN where there is none of it. Diverged."""
        warming, numbers = self.rounds < self.warmup_rounds, dict[str, Tensor]()
        act = uniform_act(self.world.actions) if warming else self.learner.act
        newest = self.episodes(act, self.loop.episodes, "env")
        if self.models:
            numbers |= self.models.errors(newest, self.streams["probe"])
            self.models.memory.add(newest, self.policy)
        begun = self.env_steps
        self.env_steps += self.loop.episodes * self.world.horizon
        self.rounds += 1
        if not warming:
            if self.models:
                numbers |= self.models.fit(self.learner.policies, self.streams["model"], self.streams["weighting"])
            self.learner.anneal(1.0 - begun / self.loop.total_env_steps)
            numbers |= self.improve(newest)
            self.learner.settle()
        numbers |= self.returns(newest)
        return self._checked(numbers)

    @property
    def policy(self) -> int:
        """Which policy acts in this round: what the warm-up plays is the first, 0, however many rounds it takes."""
        return max(0, self.rounds - max(0, self.warmup_rounds - 1))

    def episodes(self, act: Act, count: int, purpose: str) -> Trajectories:
        """So many whole episodes of the world from fresh starts."""
        stream = self.streams[purpose]
        return rollout(self.world, self.world.start(stream, count), act, self.world.horizon, stream)

    def improve(self, newest: Trajectories) -> dict[str, Tensor]:
        """The inner iterations, those on rollouts spread evenly among them; numbers of the last on the world's data."""
        share = self.loop.rollout_share if self.loop.model != "none" else 0.0
        numbers, real = dict[str, Tensor](), newest.as_seen(self.world)
        for count in range(self.loop.inner_iterations):
            imagined = int((count + 1) * share) > int(count * share)
            batch = self.branched(newest) if imagined else real
            found = self.learner.improve(batch, self.streams["replay"])
            if not (imagined and numbers):
                numbers = {f"policy/{name}": value for name, value in found.items()}
        return numbers

    def branched(self, newest: Trajectories) -> Trajectories:
        """Short rollouts of the policies from states of the newest trajectories in which all still moved."""
        steps: Steps = self.models or self.world
        states, stream = newest.obs if self.models else newest.states, self.streams["rollout"]
        index = draw(newest.moving.flatten(1).float(), self.loop.rollouts, stream)
        starts = at(states[:, :, :-1].flatten(2, 3), index)
        return rollout(steps, starts, self.learner.act, self.loop.rollout_length, stream).as_seen(steps)

    def returns(self, newest: Trajectories) -> dict[str, Tensor]:
        """Each agent's part of the return of a round's episodes, and the share of these that stopped; [R] each."""
        means = newest.rewards.mean((2, 3))
        stopped = newest.stopped[:, -1].float().mean(1)
        return {f"agents/return_{agent}": part for agent, part in enumerate(means.unbind(1))} | {"stopped": stopped}

    def evaluation(self) -> Evaluation:
        """Fresh episodes with drawn actions: the mode of a policy that mixes them is another controller."""
        found = self.episodes(self.learner.act, self.loop.eval_episodes, "eval")
        returns = (found.rewards.sum((1, 2)) / self.world.horizon).double().numpy()
        lost = ~np.isfinite(returns).all(1)
        if lost.any():
            raise Diverged(self.env_steps, {"returns": lost}, {"return": returns.mean(1)})
        return Evaluation(self.env_steps, returns, found.moving.sum(1).numpy())

    def _checked(self, numbers: dict[str, Tensor]) -> Round:
        """The record of a round, with all its names; Diverged where a number or a network is not finite."""
        names = [f"policy/{name}" for name in learner.NUMBERS] + (list(models.NUMBERS) if self.models else [])
        whole = on_host(dict.fromkeys(names, torch.full((self.replicas,), torch.nan)) | numbers)
        nets: dict[str, torch.nn.Module] = {"policies": self.learner.policies, "critics": self.learner.critics}
        if self.models:
            nets["model"] = self.models.dynamics
        found = on_host({name: self._sum(net) for name, net in nets.items()})
        check_finite(self.env_steps, whole, found)
        return Round(self.env_steps, whole)

    def _sum(self, net: torch.nn.Module) -> Tensor:
        """The sum of all parameters of a network, [R]."""
        return torch.stack([each.detach().view(self.replicas, -1).sum(1) for each in net.parameters()]).sum(0)

    def state_dict(self) -> dict[str, Any]:
        """The state between two rounds, its tensors those in use: to be saved before the next."""
        return {
            "env_steps": self.env_steps,
            "rounds": self.rounds,
            "streams": {purpose: stream.state_dict() for purpose, stream in self.streams.items()},
            "learner": self.learner.state_dict(),
            "models": self.models.state_dict() if self.models else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts a fresh trainer where `state_dict` was taken; the state is used up."""
        self.env_steps, self.rounds = state["env_steps"], state["rounds"]
        for purpose, stream in state["streams"].items():
            self.streams[purpose].load_state_dict(stream)
        self.learner.load_state_dict(state["learner"])
        if self.models:
            self.models.load_state_dict(state["models"])
