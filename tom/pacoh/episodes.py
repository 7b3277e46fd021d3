"""Episodes in worlds side by side, as rows to learn from."""

import torch
from torch import Tensor

from tom.core.replay import Transitions
from tom.core.streams import Stream
from tom.envs.episodes import uniform_actions
from tom.families.base import TaskFamily, Worlds
from tom.pacoh.control import Planner


def play(
    family: TaskFamily, worlds: Worlds, planner: Planner | None, env_steps: int, stream: Stream
) -> tuple[Transitions, Tensor]:
    """One episode in each of N worlds, by plans or else by uniform actions: rows [N, env_steps, W], returns [N].

    In the rows the last step is truncated, and rewards that a planner knows are 0: there is nothing to learn of them.
    """
    obs, rows, total = worlds.reset(stream), [], None
    for step in range(env_steps):
        action = uniform_actions(stream, family.action_dim) if planner is None else planner.act(obs, stream)
        next_obs, reward = worlds.step(action)
        total = reward if total is None else total + reward
        learnt = reward if family.reward is None else torch.zeros_like(reward)
        ends = torch.zeros_like(reward), torch.full_like(reward, float(step == env_steps - 1))
        rows.append(torch.cat([obs, action, next_obs, torch.stack([learnt, *ends], -1)], -1))
        obs = next_obs
    assert total is not None
    return Transitions(torch.stack(rows, 1), family.observation_dim, family.action_dim), total


def joined(*parts: Transitions) -> Transitions:
    """Rows one after another: [N, m, W] each -> [N, sum of m, W]."""
    return parts[0].like(torch.cat([part.data for part in parts], 1))
