"""Policies and critics of every agent, and what a batch of trajectories does to them."""

import copy
from typing import Any

import torch
from torch import Tensor

from tom.core.adam import ReplicaAdam
from tom.core.networks import StackedMLP, descend
from tom.core.streams import Stream
from tom.networked.critics import Critics
from tom.networked.ppo import (
    advantages,
    choose,
    discounted,
    divergence,
    extended,
    mean_over,
    standardised,
    surrogate,
)
from tom.networked.world import Trajectories, World, at
from tom.settings.experiments.networked import Settings

PARTS = ("policies", "critics", "policy_adam", "critic_adam")
NUMBERS = ("entropy", "kl", "steps", "value_loss", "cosine")


class Learner:
    """A categorical policy of what an agent and its neighbours have, and a critic, for each of R n agents."""

    def __init__(self, settings: Settings, world: World, replicas: int, stream: Stream):
        self.settings, self.world, self.graph = settings, world, world.graph
        lead, seats = (replicas, self.graph.agents), self.graph.within(1).shape[1]
        sizes = (seats * world.observation_dim, settings.hidden, settings.hidden, world.actions)
        self.policies = StackedMLP(lead, sizes, torch.tanh, stream)
        with torch.no_grad():
            self.policies.layers()[-1][0].mul_(settings.policy_head_scale)
        self.acting = copy.deepcopy(self.policies)
        self.critics = Critics(settings, world, replicas, stream)
        count = replicas * self.graph.agents
        self.policy_adam = ReplicaAdam(self.policies.parameters(), count, settings.learning_rate)
        self.critic_adam = ReplicaAdam(self.critics.parameters(), count, settings.critic_learning_rate)

    def settle(self) -> None:
        """Who acts from now on are the policies as they are now."""
        self.acting.load_state_dict(self.policies.state_dict())

    def act(self, obs: Tensor, stream: Stream) -> Tensor:
        """Actions int64 [R, n, B] at observations [R, n, B, O], drawn from the policies that were last settled."""
        return choose(self.acting(self.graph.gather(obs, 1)), stream.uniform(*obs.shape[1:-1]))

    def anneal(self, left: float) -> None:
        """Step sizes for the share of the run that is left."""
        share = left if self.settings.anneal else 1.0
        for optimizer, rate in (
            (self.policy_adam, self.settings.learning_rate),
            (self.critic_adam, self.settings.critic_learning_rate),
        ):
            optimizer.param_groups[0]["lr"] = share * rate

    def improve(self, batch: Trajectories, stream: Stream) -> dict[str, Tensor]:
        """Passes of PPO over a batch of those who act, whose rewards are as learners get them; NUMBERS, [R] each.

        An agent whose policy is further from these than the target stays as it is; its critic goes on.
        """
        settings, data, shape = self.settings, _Batch(self, batch), batch.obs.shape[:2]
        steps = torch.zeros(shape)
        for _ in range(settings.passes):
            near = data.divergence() <= settings.target_kl
            self.policy_adam.awake = near.flatten().nonzero().flatten().tolist()
            for index in stream.permutation(data.count).chunk(settings.minibatches, 1):
                losses = self._step(data, index)
                steps += near
        numbers = {"cosine": data.cosine, "steps": steps.mean(1), "kl": data.divergence().mean(1)}
        return numbers | {name: loss.mean(1) for name, loss in losses.items()}

    def _step(self, data: "_Batch", index: Tensor) -> dict[str, Tensor]:
        """One Adam step of everyone that is awake, and of every critic, on rows index [R, B]."""
        settings = self.settings
        seen, known, actions, then, advantage, target, counts = data.rows(index)
        log = self.policies(seen).log_softmax(-1)
        ratio = log.gather(-1, actions[..., None])[..., 0] - then
        entropy = mean_over(-(log.exp() * log).sum(-1), counts)
        gain = mean_over(surrogate(ratio, advantage, settings.clip), counts) + settings.entropy * entropy
        if self.policy_adam.awake:
            descend(self.policy_adam, -gain, list(self.policies.parameters()))
        value_loss = mean_over((self.critics.net(known)[..., 0] - target).square(), counts)
        descend(self.critic_adam, value_loss, list(self.critics.parameters()))
        return {"entropy": entropy.detach(), "value_loss": value_loss.detach()}

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` goes on from; the tensors are those in use."""
        return {name: getattr(self, name).state_dict() for name in PARTS}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to where `state_dict` was taken."""
        for name in PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.settle()


class _Batch:
    """What the passes need of T steps of B networks, flattened to N = T B rows [R, n, N, ...]."""

    def __init__(self, learner: Learner, batch: Trajectories):
        self.learner, settings, graph, critics = learner, learner.settings, learner.graph, learner.critics
        now, values = batch.obs[:, :, :-1], critics.values(batch)
        self.seen, self.known = (graph.gather(now, hops).flatten(2, 3) for hops in (1, critics.hops))
        self.actions = batch.actions.flatten(2)
        self.counts = batch.moving.float().flatten(1)[:, None].expand(-1, graph.agents, -1)
        self.count = self.counts.shape[-1]
        own = advantages(batch.rewards, values, settings.discount, settings.trace)
        near, whole = (extended(own, graph.reach(hops)).flatten(2) for hops in (settings.kappa, graph.diameter))
        self.advantage, self.cosine = standardised(near, self.counts), self._cosine(near, whole)
        returns = discounted(batch.rewards, values[:, :, -1], settings.discount).flatten(2)
        self.target = critics.targets(returns, self.counts)
        with torch.no_grad():
            self.log = self._log_probability(learner.acting)

    def rows(self, index: Tensor) -> list[Tensor]:
        """The parts at index [R, B], each replica its own: [R, n, B, ...] each."""
        parts = (self.seen, self.known, self.actions, self.log, self.advantage, self.target, self.counts)
        return [at(part, index) for part in parts]

    @torch.no_grad()
    def divergence(self) -> Tensor:
        """How far each agent's policy is from the one that acted, nats, [R, n]."""
        return mean_over(divergence(self._log_probability(self.learner.policies) - self.log), self.counts)

    def _log_probability(self, policies: StackedMLP) -> Tensor:
        log = policies(self.seen).log_softmax(-1)
        return log.gather(-1, self.actions[..., None])[..., 0]

    def _cosine(self, *sums: Tensor) -> Tensor:
        """Of the angle between the policy gradients with these two sums of advantages, over all agents, [R]."""
        policies = self.learner.policies
        log, parameters = self._log_probability(policies), list(policies.parameters())
        steps = []
        for each in sums:
            gain = mean_over(log * each, self.counts).sum()
            parts = torch.autograd.grad(gain, parameters, retain_graph=True)
            steps.append(torch.cat([part.view(len(self.seen), -1) for part in parts], 1))
        near, whole = steps
        return torch.nn.functional.cosine_similarity(near, whole, dim=1)
