"""Planning in a learned model: what a sequence of actions returns there, and searches for a good one.

Plans are [R, B, M, H, A]: M sequences of H actions for each of B observations of R replicas. All noise is an input.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tom.core.context import World, WorldModel

KEPT, SHRINKS = 0.3, 1.25  # of iCEM (Pinneri et al., 2020): share of the elites kept, by what the samples get fewer


@dataclass(frozen=True)
class Imagination:
    """What plans are judged by: the model's expected steps, and the critics where a plan ends."""

    model: WorldModel
    world: World
    policy: Any  # mode(obs) and sample(obs, noise)
    critic: Callable[[Tensor], Tensor]  # [R, N, O + A] -> [R, 2, N]
    discount: float

    def step(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reward [R, N], next observation [R, N, O], and 0 where it is terminal, else 1 [R, N]."""
        reward, next_obs = self.model.expected(torch.cat([obs, action], -1))
        return reward, next_obs, (~self.world.terminated(next_obs)).to(reward.dtype)

    def value(self, obs: Tensor) -> Tensor:
        """min_i Q_i(s, mode of the policy) of obs [R, N, O]: [R, N]."""
        return self.critic(torch.cat([obs, self.policy.mode(obs)], -1)).amin(1)

    def returns(self, obs: Tensor, plans: Tensor) -> Tensor:
        """J of plans from obs [R, B, O]: [R, B, M].

        J(u) = sum_{t<H} g^t m_t r(s_t, u_t) + g^H m_H V(s_H), where m_t is 0 from the first terminal state on, else 1.
        """
        shape, horizon = plans.shape[:3], plans.shape[3]
        here = obs[:, :, None].expand(*shape, -1).flatten(1, 2)
        total, alive = torch.zeros_like(here[..., 0]), torch.ones_like(here[..., 0])
        for time, action in enumerate(plans.flatten(1, 2).unbind(-2)):
            reward, here, going = self.step(here, action)
            total, alive = total + self.discount**time * alive * reward, alive * going
        return (total + self.discount**horizon * alive * self.value(here)).view(shape)

    def own_plan(self, obs: Tensor, horizon: int) -> Tensor:
        """The policy's modes along its own way from obs [R, B, O]: [R, B, H, A]."""
        actions = []
        for _ in range(horizon):
            actions.append(self.policy.mode(obs))
            _, obs, _ = self.step(obs, actions[-1])
        return torch.stack(actions, 2)


def search(
    returns: Callable[[Tensor], Tensor], start: Tensor, noise: Tensor, std: float, elites: int, keeps: bool = False
) -> tuple[Tensor, Tensor]:
    """The cross-entropy method: mean and standard deviation [R, B, H, A] of the elites of its last iteration.

    From the mean `start`, within [-1, 1], with standard normal noise [R, I, B, M, H, A] for I iterations. The mean is
    one of the samples. `keeps` is iCEM's: some elites are samples of the next iteration, which has fewer new ones.
    """
    mean, deviation, kept, count = start, torch.full_like(start, std), start[:, :, None], noise.shape[3]
    for draws in noise.unbind(1):
        fresh = (mean[:, :, None] + deviation[:, :, None] * draws[:, :, :count]).clamp(-1.0, 1.0)
        plans = torch.cat([mean[:, :, None], fresh, *([kept] if keeps else [])], 2)
        best = returns(plans).topk(elites, -1).indices
        chosen = plans.gather(2, best[..., None, None].expand(*best.shape, *plans.shape[3:]))
        mean, deviation = chosen.mean(2), chosen.std(2, correction=0)
        if keeps:
            kept, count = chosen[:, :, : math.ceil(KEPT * elites)], max(int(count / SHRINKS), 2 * elites)
    return mean, deviation


def coloured(draws: Tensor, horizon: int, colour: float) -> Tensor:
    """Noise of unit variance along `horizon` steps with power f^-colour (Timmer and Koenig, 1995), [..., horizon].

    draws [..., 2 F] are standard normal, F = horizon // 2 + 1: amplitudes of cosines and sines of the frequencies
    0, 1, .., F - 1 in `horizon` steps, of which the lowest has the power of the next one.
    """
    frequency = torch.arange(horizon // 2 + 1, device=draws.device, dtype=draws.dtype)
    angle = 2.0 * math.pi / horizon * torch.outer(frequency, torch.arange(horizon).to(draws))
    # A frequency has a cosine and a sine, but for the lowest and the fastest, whose sine is zero at every step.
    alone = (frequency == 0.0) | (2.0 * frequency == horizon)
    power = frequency.clamp(min=1.0) ** -colour * torch.where(alone, 1.0, 2.0)
    amplitude = (power / power.sum()).sqrt()[:, None]
    cosines, sines = draws.chunk(2, -1)
    return cosines @ (amplitude * angle.cos()) + sines @ (amplitude * torch.where(alone[:, None], 0.0, angle.sin()))


def particles(imagined: Imagination, obs: Tensor, noise: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Sequential Monte Carlo: first actions [R, B, M, A] of M particles that follow the policy from obs [R, B, O].

    A step weighs by exp((g^t m_t r + g^(t + 1) m_(t + 1) V(s') - g^t m_t V(s)) / temperature), then particles are drawn
    anew by their weights, systematically. noise [R, H, B, M, A] is standard normal, uniform [R, H, B] in [0, 1).
    """
    (replicas, horizon, rows, count, _), discount = noise.shape, imagined.discount
    here = obs[:, :, None].expand(-1, -1, count, -1)
    first, alive = noise[:, 0], torch.ones_like(here[..., 0])
    value = imagined.value(here.flatten(1, 2)).view_as(alive)
    for time in range(horizon):
        flat = here.flatten(1, 2)
        action = imagined.policy.sample(flat, noise[:, time].flatten(1, 2))
        reward, after, going = imagined.step(flat, action)
        first = action.view(replicas, rows, count, -1) if time == 0 else first
        next_alive, next_value = alive * going.view_as(alive), imagined.value(after).view_as(alive)
        gained = alive * reward.view_as(alive) + discount * next_alive * next_value - alive * value
        index = resampled((discount**time * gained / temperature).softmax(-1), uniform[:, time])
        here = _at(after.view(replicas, rows, count, -1), index)
        first, alive, value = _at(first, index), next_alive.gather(2, index), next_value.gather(2, index)
    return first


def resampled(weights: Tensor, uniform: Tensor) -> Tensor:
    """Systematic resampling: as many indices as weights [R, B, M], each in proportion; uniform [R, B] in [0, 1)."""
    count = weights.shape[-1]
    places = (uniform[..., None] + torch.arange(count, device=weights.device)) / count
    return torch.searchsorted(weights.cumsum(-1).contiguous(), places, right=True).clamp_(max=count - 1)


def _at(values: Tensor, index: Tensor) -> Tensor:
    """values [R, B, M, W] at index [R, B, M]."""
    return values.gather(2, index[..., None].expand(*index.shape, values.shape[-1]))
