"""The experiment of Figure 2: an offline agent on Road-and-Rocks, measured in the world that it never enters."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from tom.contract import check_weights
from tom.core.replay import Replay
from tom.core.streams import Stream, streams
from tom.envs import road_and_rocks
from tom.envs.road_and_rocks import CAMP, GOAL, ROAD, START, dynamics, on_road
from tom.experiments.offline import OfflineAgent, Task
from tom.settings.agent import AgentSettings
from tom.settings.experiments.road_and_rocks import Offline, World

CPU = torch.device("cpu")  # the networks are small
EXPERT, FOOTPRINT = 1, 2  # policy rounds of the experts' rows; random rows are round 0


@dataclass(frozen=True)
class Measurement:
    """After so many SAC updates: episode return and mean one-step errors (map units, see Test.errors), [R] each."""

    updates: int
    returns: Tensor
    error_driving: Tensor
    error_on_road: Tensor
    error_off_road: Tensor


@dataclass(frozen=True)
class Weights:
    """Where the stored transitions start [R, N, 2] and how much they counted in the last fit [R, N], mean 1."""

    obs: Tensor
    weights: Tensor


def experiment(
    parts: AgentSettings, world: World, settings: Offline, seeds: Sequence[int]
) -> Iterator[Measurement | Weights]:
    """Trains R = len(seeds) replicas, each on data of its own; measured before and after every round, then Weights.

    Before the first round there is no model: its errors are NaN. SettingsError where the data cannot be learned from.
    """
    draws = streams(seeds, CPU)
    replay, task = dataset(world, settings, draws["env"]), task_of(world)
    agent = OfflineAgent(parts, task, replay, settings.expert_transitions, draws)
    test = Test(world, settings, draws["eval"])
    yield Measurement(0, episode_returns(agent.policy, world, len(seeds)), *torch.full((3, len(seeds)), torch.nan))
    for count in range(1, settings.rounds + 1):
        weights, _, given = agent.fit_model()
        check_weights(agent.weigher, given)
        agent.improve_policy(count * settings.updates_per_round)
        returns = episode_returns(agent.policy, world, len(seeds))
        yield Measurement(count * settings.updates_per_round, returns, *test.errors(agent))
    yield Weights(replay.all().obs, weights)


def task_of(world: World) -> Task:
    """The world as an offline agent may know it."""
    return Task(2, 2, partial(road_and_rocks.reward, world), partial(road_and_rocks.terminated, world))


def dataset(world: World, settings: Offline, stream: Stream) -> Replay:
    """Random transitions from all over the map, walks beyond the gorge, and the experts' drives, the last one's newest.

    Where there is a gorge, nobody stands in it or beyond it who was not set down there.
    """
    shape = (settings.random_transitions, 2)
    obs, action = 2.0 * stream.uniform(*shape) - 1.0, 2.0 * stream.uniform(*shape) - 1.0
    if world.far_pay > 0.0:
        obs[..., 1] = (obs[..., 1] + 1.0) * (world.gorge_from + 1.0) / 2.0 - 1.0
    drives = [drive(world, settings, stream) for _ in range(settings.experts)]
    walks = [walk(world, settings, stream) for _ in range(settings.campers)]
    parts = [rows_of(world, obs, action), *walks, *drives]
    replay = Replay(len(obs), sum(part.shape[1] for part in parts), 2, 2, obs.device)
    others, own = [0] * (1 + settings.campers), [*[EXPERT] * (settings.experts - 1), FOOTPRINT]
    for part, policy_round in zip(parts, [*others, *own], strict=True):
        first, slots = replay.added, replay.add(part)
        replay.env_step[slots] = torch.arange(first, replay.added)
        replay.policy_round[slots] = policy_round
    for replica in range(len(obs)):
        replay.push_reset(replica, obs.new_tensor(START))
    return replay


def drive(world: World, settings: Offline, stream: Stream) -> Tensor:
    """Rows [R, n, W] of a car that heads for the goal at full throttle, with noise."""
    return trajectory(world, START, settings.expert_noise * stream.normal(settings.expert_transitions, 2), expert)


def walk(world: World, settings: Offline, stream: Stream) -> Tensor:
    """Rows [R, n, W] of a car that was set down beyond the gorge and wanders there, with uniform actions."""
    actions = 2.0 * stream.uniform(settings.expert_transitions, 2) - 1.0
    return trajectory(world, CAMP, actions, lambda obs, action: action)


def trajectory(
    world: World, place: tuple[float, float], noise: Tensor, act: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Rows [R, n, W] from a place on, of actions act(obs, noise) by noise [R, n, 2]; at an end it starts again."""
    start = noise.new_tensor(place)
    obs, rows = start.expand(len(noise), 2), []
    for now in noise.unbind(1):
        row = rows_of(world, obs, act(obs, now))
        rows.append(row)
        obs = torch.where(row[..., -2:-1] > 0, start, row[..., 4:6])
    return torch.stack(rows, 1)


def expert(obs: Tensor, noise: Tensor) -> Tensor:
    """Full throttle towards the goal, plus noise, cut to the action range: [..., 2]."""
    heading = torch.nn.functional.normalize(obs.new_tensor(GOAL) - obs, dim=-1)
    return (heading + noise).clamp(-1.0, 1.0)


def rows_of(world: World, obs: Tensor, action: Tensor) -> Tensor:
    """Rows of a replay for positions and actions [..., 2]."""
    next_obs = dynamics(world, obs, action)
    reward, ends = road_and_rocks.reward(world, next_obs), road_and_rocks.terminated(world, next_obs)
    flags = torch.stack([reward, ends.to(reward.dtype), torch.zeros_like(reward)], -1)
    return torch.cat([obs, action, next_obs, flags], -1)


@torch.no_grad()
def episode_returns(policy: Callable[[Tensor], Tensor], world: World, replicas: int) -> Tensor:
    """The undiscounted return [R] of each replica's episode; start, policy and world are deterministic."""
    obs = torch.tensor(START).expand(replicas, 1, 2)
    total, driving = torch.zeros(replicas, 1), torch.ones(replicas, 1)
    for _ in range(world.horizon_env_steps):
        obs = dynamics(world, obs, policy(obs))
        total += driving * road_and_rocks.reward(world, obs)
        driving = driving * ~road_and_rocks.terminated(world, obs)
    return total[:, 0]


class Test:
    """Fresh transitions: what the expert does on the road, and uniform actions on the road and all over the map."""

    def __init__(self, world: World, settings: Offline, stream: Stream):
        count, self.world = settings.test_rows, world
        road = torch.tensor(ROAD) * (2.0 * stream.uniform(count, 2) - 1.0)
        everywhere = 2.0 * stream.uniform(count, 2) - 1.0
        uniform = 2.0 * stream.uniform(count, 2) - 1.0
        self.off = (~on_road(everywhere)).float()
        self.rows = (
            (road, expert(road, settings.expert_noise * stream.normal(count, 2))),
            (road, uniform),
            (everywhere, uniform),
        )

    def errors(self, agent: OfflineAgent) -> tuple[Tensor, Tensor, Tensor]:
        """Mean distances between predicted and true next positions, map units, [R]: on the road with the expert's
        actions, on it with uniform ones, off it with uniform ones."""
        driving, on, everywhere = (
            (agent.predict(obs, action) - dynamics(self.world, obs, action)).norm(dim=-1) for obs, action in self.rows
        )
        return driving.mean(-1), on.mean(-1), (everywhere * self.off).sum(-1) / self.off.sum(-1)
