"""Pendulums that are to be swung up and held, in closed form (rllib@4d4e752, the base of model-based-meta-rl@c695d6b).

theta = 0 is upright. With gravity g (m/s^2), length l (m), mass m (kg), torque u (N m) and steps of 0.05 s:

    w' = clip(w + (3 g sin(theta) / (2 l) + 3 u / (m l^2)) dt, -8, 8),    theta' = theta + w'' dt,

where w'' is w' before it is cut. Observations are (cos theta, sin theta, w); rewards are those of the state before the
step, -(theta^2 + 0.1 w^2 + 0.001 u^2), theta in [-pi, pi].
"""

import math

import torch
from torch import Tensor

from tom.core.streams import Stream
from tom.families.base import Step, multipliers
from tom.settings.families.pendulum import Settings

STANDARD = (10.0, 1.0, 1.0)  # gravity, length, mass
BASE = 1.5  # of the powers that parameters are multiplied by
STEP_S, FASTEST, STRONGEST = 0.05, 8.0, 2.0  # s, rad/s, N m
START = 0.01  # rad from hanging, at most


def step(parameters: Tensor, obs: Tensor, action: Tensor) -> Tensor:
    """Next observations [..., 3] of obs [..., 3] and actions [..., 1] in [-1, 1]; parameters [..., 3] are (g, l, m)."""
    gravity, length, mass = parameters.unbind(-1)
    angle, speed, torque = torch.atan2(obs[..., 1], obs[..., 0]), obs[..., 2], STRONGEST * action[..., 0]
    push = 1.5 * gravity / length * angle.sin() + 3.0 * torque / (mass * length.square())
    faster = speed + STEP_S * push
    angle = angle + STEP_S * faster
    return torch.stack([angle.cos(), angle.sin(), faster.clamp(-FASTEST, FASTEST)], -1)


def reward(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    """The reward [...] of a step; the next observation has no part in it."""
    angle, torque = torch.atan2(obs[..., 1], obs[..., 0]), STRONGEST * action[..., 0]
    return -(angle.square() + 0.1 * obs[..., 2].square() + 0.001 * torque.square())


class Pendulums:
    """N pendulums, each with its own (g, l, m)."""

    def __init__(self, parameters: Tensor):
        self.parameters, self.obs = parameters, parameters.new_zeros(len(parameters), 3)

    def reset(self, stream: Stream) -> Tensor:
        angle = math.pi + START * (2.0 * stream.uniform() - 1.0)
        self.obs = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], -1)
        return self.obs

    def step(self, action: Tensor) -> tuple[Tensor, Tensor]:
        before, self.obs = self.obs, step(self.parameters, self.obs, action)
        return self.obs, reward(before, action, self.obs)


class PendulumFamily:
    """Gravity, length and mass differ."""

    observation_dim, action_dim = 3, 1
    reward = staticmethod(reward)

    def __init__(self, settings: Settings):
        self.settings = settings

    def parameters(self, stream: Stream, count: int) -> Tensor:
        """(g, l, m) of `count` pendulums for each replica: [R, count, 3]."""
        factors = multipliers(stream, count, torch.full((3,), BASE), self.settings.spread)
        return torch.tensor(STANDARD) * factors

    def worlds(self, parameters: Tensor) -> Pendulums:
        return Pendulums(parameters)

    def dynamics(self, parameters: Tensor) -> Step:
        return lambda obs, action: step(parameters[:, None], obs, action)


def build(settings: Settings) -> PendulumFamily:
    return PendulumFamily(settings)
