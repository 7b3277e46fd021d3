"""Controllers that do not learn: one action always, and the best linear rule that a search finds for all vehicles."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tom.core.streams import Stream
from tom.networked.world import Act, Trajectories, World, rollout
from tom.settings.experiments.networked import Rules


def constant(action: int) -> Act:
    """The same action for everyone, whatever is seen."""
    return lambda obs, stream: torch.full(obs.shape[:-1], action)


def linear(weights: Tensor) -> Act:
    """The action whose row of weights [A, O + 1] makes most of (o, 1); the same weights for every agent.

    Of weights [C, A, O + 1] each candidate has as many networks side by side as the others, one after the other.
    """
    candidates = weights.view(-1, *weights.shape[-2:])

    def act(obs: Tensor, stream: Stream) -> Tensor:
        ones = torch.cat([obs, torch.ones_like(obs[..., :1])], -1)
        apart = ones.unflatten(2, (len(candidates), -1))  # [R, n, C, B / C, O + 1]
        return torch.einsum("cao,rncbo->rncba", candidates, apart).argmax(-1).flatten(2)

    return act


def returns(world: World, act: Act, starts: Tensor, stream: Stream) -> tuple[Tensor, Tensor]:
    """Of one replica's episodes from starts [1, n, B, F]: returns and lengths as in an evaluation, [B] each."""
    found: Trajectories = rollout(world, starts, act, world.horizon, stream)
    return found.rewards.sum((1, 2))[0] / world.horizon, found.moving.sum(1)[0].float()


def search(world: World, settings: Rules, stream: Stream) -> Tensor:
    """The mean [A, O + 1] of the last elites of the cross-entropy method (Rubinstein, 1999), from N(0, 1).

    All candidates of an iteration are judged on the same episodes.
    """
    shape = (world.actions, world.observation_dim + 1)
    mean, std = torch.zeros(shape), torch.ones(shape)
    for _ in range(settings.iterations):
        candidates = mean + std * stream.normal(settings.candidates, *shape)[0]
        starts = world.start(stream, settings.episodes).repeat(1, 1, settings.candidates, 1)
        found, _ = returns(world, linear(candidates), starts, stream)
        best = found.view(settings.candidates, -1).mean(1).topk(settings.elites).indices
        mean, std = candidates[best].mean(0), candidates[best].std(0, correction=0)
    return mean


def measured(world: World, settings: Rules, streams: Mapping[str, Stream]) -> dict[str, tuple[Tensor, Tensor]]:
    """Returns and lengths, [test_episodes] each, of the last action always and of the rule found: the same starts."""
    rules = {"constant": constant(world.actions - 1), "linear": linear(search(world, settings, streams["rollout"]))}
    starts = world.start(streams["eval"], settings.test_episodes)
    return {name: returns(world, act, starts, streams["env"]) for name, act in rules.items()}
