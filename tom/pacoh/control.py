"""Planning with optimism (H-UCRL, Curi et al., 2020): over actions, and over what the model leaves open.

    (u, eta) = argmax sum_t r(s_t, u_t),    s_{t+1} = s_t + mean(s_t, u_t) + beta std(s_t, u_t) eta_t,

with eta in [-1, 1]^O, where mean and std are over the particles. beta = 0 is greedy. The search is iCEM (Pinneri et
al., 2020), from the plan of the step before.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tom.core.planning import coloured, search
from tom.core.streams import Stream
from tom.families.base import Reward, Step
from tom.pacoh.bnn import ParticleNetwork
from tom.settings.experiments.pacoh import Control

# obs [N, B, O], action [N, B, A], eta [N, B, O] -> reward [N, B], next obs [N, B, O]
Imagined = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def hallucinated(model: ParticleNetwork, reward: Reward | None, optimism: float) -> Imagined:
    """Steps of the model, with luck; rewards are those of the function, or the model's where there is none."""

    def step(obs: Tensor, action: Tensor, eta: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = model.believed(model.inputs(torch.cat([obs, action], -1)))
        found = model.targets.inverse(mean)
        lucky = optimism * std[..., 1:] * model.targets.std[..., 1:] * eta
        next_obs = obs + found[..., 1:] + lucky
        return found[..., 0] if reward is None else reward(obs, action, next_obs), next_obs

    return step


def known(dynamics: Step, reward: Reward) -> Imagined:
    """True steps, where nothing is left open: what an oracle plans with."""

    def step(obs: Tensor, action: Tensor, eta: Tensor) -> tuple[Tensor, Tensor]:
        next_obs = dynamics(obs, action)
        return reward(obs, action, next_obs), next_obs

    return step


class Planner:
    """Plans for N worlds at once, each from its own plan of the step before."""

    def __init__(self, settings: Control, step: Imagined, observation_dim: int, action_dim: int):
        self.settings, self.step = settings, step
        self.action_dim, self.width = action_dim, action_dim + observation_dim
        self.plan: Tensor | None = None  # the last one, [N, 1, H, A + O]

    @torch.no_grad()
    def act(self, obs: Tensor, stream: Stream) -> Tensor:
        """Actions [N, A] in [-1, 1] at obs [N, O]: the first of the plans that are found."""
        settings = self.settings
        start = obs.new_zeros(len(obs), 1, settings.horizon, self.width) if self.plan is None else later(self.plan)
        shape = settings.iterations, 1, settings.samples, self.width, 2 * (settings.horizon // 2 + 1)
        noise = coloured(stream.normal(*shape), settings.horizon, settings.colour).transpose(-1, -2)
        self.plan, _ = search(
            lambda plans: self.returns(obs, plans), start, noise, settings.std, settings.elites, keeps=True
        )
        return self.plan[:, 0, 0, : self.action_dim]

    def returns(self, obs: Tensor, plans: Tensor) -> Tensor:
        """The sum of imagined rewards of plans [N, 1, M, H, A + O] from obs [N, O]: [N, 1, M]."""
        here = obs[:, None].expand(-1, plans.shape[2], -1)
        total = torch.zeros_like(here[..., 0])
        for both in plans[:, 0].unbind(-2):
            reward, here = self.step(here, both[..., : self.action_dim], both[..., self.action_dim :])
            total = total + reward
        return total[:, None]


def later(plan: Tensor) -> Tensor:
    """A plan [..., H, W] a step later: what is left of it, and nothing done in the last step."""
    return torch.cat([plan[..., 1:, :], torch.zeros_like(plan[..., :1, :])], -2)
