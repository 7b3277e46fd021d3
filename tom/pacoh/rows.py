"""Rows of tasks: episodes that make them, and how well a model knows those that nothing learned from."""

import numpy as np
import torch
from torch import Tensor

from tom.core.replay import Transitions, rows_of
from tom.core.streams import Stream
from tom.envs.episodes import uniform_actions
from tom.families.base import TaskFamily, Worlds
from tom.pacoh.bnn import ParticleNetwork
from tom.pacoh.control import Planner

NORMAL_90 = 1.6448536269514722  # standard deviations to each side that hold 90 % of a Gaussian


def play(
    family: TaskFamily, worlds: Worlds, planner: Planner | None, env_steps: int, stream: Stream
) -> tuple[Transitions, Tensor]:
    """One episode in each of N worlds, by plans or else by uniform actions: rows [N, env_steps, W], returns [N].

    In the rows the last step is truncated, and rewards that a planner knows are 0: there is nothing to learn of them.
    """
    obs, rows = worlds.reset(stream), []
    total, none = torch.zeros(len(obs)), np.zeros(len(obs))
    for step in range(env_steps):
        action = uniform_actions(stream, family.action_dim) if planner is None else planner.act(obs, stream)
        next_obs, reward = worlds.step(action)
        total = total + reward
        learnt = reward.numpy() if family.reward is None else none
        rows.append(rows_of(obs, action, next_obs, learnt, none, none + (step == env_steps - 1)))
        obs = next_obs
    return Transitions(torch.stack(rows, 1), family.observation_dim, family.action_dim), total


def errors(model: ParticleNetwork, rows: Transitions, scale: Tensor) -> dict[str, Tensor]:
    """Of s' - s on rows [N, m, W] of the model's tasks, in units of `scale` [N, 1, O]; [N] each.

    `rmse` is the root mean square error, `spread` that standard deviation over particles, and `coverage` the share of
    components inside the model's 90 % intervals.
    """
    with torch.no_grad():
        mean, std = model.believed(model.inputs(rows.obs_action))
    predicted, unit = model.targets.inverse(mean)[..., 1:], model.targets.std[..., 1:]
    off = rows.next_obs - rows.obs - predicted
    believed = std[..., 1:] * unit
    whole = (believed.square() + (model.settings.likelihood_std * unit).square()).sqrt()
    return {
        "rmse": (off / scale).square().mean((1, 2)).sqrt(),
        "spread": (believed / scale).square().mean((1, 2)).sqrt(),
        "coverage": (off.abs() <= NORMAL_90 * whole).to(off.dtype).mean((1, 2)),
    }


def scale_of(rows: Transitions) -> Tensor:
    """The standard deviation of each component of s' - s over rows [R, m, W]: [R, 1, O]; 1 for a constant one."""
    std = (rows.next_obs - rows.obs).std(1, keepdim=True, correction=0)
    return torch.where(std < 1e-6, torch.ones_like(std), std)
