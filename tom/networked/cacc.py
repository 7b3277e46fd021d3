"""Cooperative adaptive cruise control: a platoon of eight vehicles behind a leader (Chu et al., 2020).

Each vehicle chooses two gains of the optimal velocity model; catch-up: the first one begins 30 to 50 m behind the
leader, slow-down: all begin fast, and the leader slows down. The equations are those of the environment of
cts198859/deeprl_network@c279b1f, envs/cacc_env.py and config; once two vehicles are less than 1 m apart all stand.
"""

import torch
from torch import Tensor

from tom.core.streams import Stream
from tom.networked.graph import line
from tom.settings.experiments.networked import AGENTS, FASTEST, HORIZONS, Settings

DT = 0.1  # s
STANDSTILL, FREE = 5.0, 35.0  # m: headways at which a driver wants to stand, and to go as fast as can be
HEADWAY, SPEED = 20.0, 15.0  # m, m/s: the targets
HARDEST = 2.5  # m/s^2, of an acceleration
CRASH = 1.0  # m
CRASHED = -300.0  # reward of each vehicle in each step after a crash
SCALE, MOST = 100.0, 5.0  # a learner sees clip(r / SCALE, +-MOST)
FADE = 299.0  # steps after which the leader of slow-down has its final speed
GAINS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5))  # (alpha, beta) of the four actions


def wanted(headway: Tensor) -> Tensor:
    """The speed that a headway asks for, m/s: v_max / 2 (1 - cos(pi clip((h - h_s) / (h_g - h_s), 0, 1)))."""
    share = ((headway - STANDSTILL) / (FREE - STANDSTILL)).clamp(0.0, 1.0)
    return FASTEST / 2.0 * (1.0 - torch.cos(torch.pi * share))


def ahead_of(leader: Tensor, speed: Tensor) -> Tensor:
    """The speed of whoever drives ahead: leader [..., B], speed [..., n, B] -> [..., n, B]."""
    return torch.cat([leader[..., None, :], speed[..., :-1, :]], -2)


class Platoon:
    """A world whose state is, per vehicle, headway, speed, acceleration, the leader's first speed and the time.

    Units: m, m/s, m/s^2, m/s, steps.
    """

    observation_dim, actions, stopped_reward = 5, len(GAINS), CRASHED / SCALE

    def __init__(self, scenario: str, settings: Settings):
        self.scenario, self.settings, self.graph = scenario, settings, line(AGENTS[scenario])
        self.horizon = HORIZONS[scenario]

    def start(self, stream: Stream, count: int) -> Tensor:
        luck = stream.uniform(count)
        if self.scenario == "catchup":
            return self.begin(HEADWAY * (1.5 + luck), torch.full_like(luck, SPEED))
        slowest = 1.5 * SPEED
        return self.begin(torch.full_like(luck, HEADWAY), slowest + (self.settings.fastest_start - slowest) * luck)

    def begin(self, first_headway: Tensor, speed: Tensor) -> Tensor:
        """The state in which all drive at `speed` [..., B], the first vehicle `first_headway` [..., B] behind."""
        state = speed.new_zeros(*speed.shape[:-1], self.graph.agents, speed.shape[-1], 5)
        state[..., 0] = HEADWAY
        state[..., 0, :, 0] = first_headway
        state[..., 1] = state[..., 3] = speed[..., None, :]
        return state

    def leader(self, state: Tensor) -> Tensor:
        """The leader's speed now, [..., B]: it falls linearly, or stays."""
        first, time = state[..., 0, :, 3], state[..., 0, :, 4]
        return first + (SPEED - first) * (time / FADE).clamp(max=1.0)

    def observe(self, state: Tensor) -> Tensor:
        headway, speed, acceleration = state[..., :3].unbind(-1)
        closing = ahead_of(self.leader(state), speed) - speed
        return torch.stack(
            [
                (speed - SPEED) / SPEED,
                (closing / 5.0).clamp(-2.0, 2.0),
                ((wanted(headway) - speed) / 5.0).clamp(-2.0, 2.0),
                (headway + closing * DT - HEADWAY) / HEADWAY,
                acceleration / HARDEST,
            ],
            -1,
        )

    def stopped(self, state: Tensor) -> Tensor:
        return (state[..., 0] < CRASH).any(-2)

    def stopped_as_seen(self, obs: Tensor) -> Tensor:
        headway = HEADWAY * (1.0 + obs[..., 3]) - 5.0 * DT * obs[..., 1]
        return (headway < CRASH).any(-2)

    def step(self, state: Tensor, actions: Tensor, stream: Stream | None = None) -> tuple[Tensor, Tensor]:
        headway, speed, _, first, time = state.unbind(-1)
        alpha, beta = state.new_tensor(GAINS)[actions].unbind(-1)
        ahead = ahead_of(self.leader(state), speed)
        pull = alpha * (wanted(headway) - speed) + beta * (ahead - speed)
        new_speed = (speed + pull.clamp(-HARDEST, HARDEST) * DT).clamp(0.0, FASTEST)
        moved = torch.stack([headway, new_speed, (new_speed - speed) / DT, first, time + 1.0], -1)
        new_ahead = ahead_of(self.leader(moved), new_speed)
        moved[..., 0] += 0.5 * DT * (ahead + new_ahead - speed - new_speed)
        after = torch.where(self.stopped(state)[..., None, :, None], state, moved)
        return after, self.reward(after)

    def reward(self, state: Tensor) -> Tensor:
        """-(h - 20)^2 - (v - 15)^2 - u^2 / 10 of each vehicle where a step led to; CRASHED once it stands."""
        headway, speed, acceleration = state[..., :3].unbind(-1)
        off = (headway - HEADWAY).square() + (speed - SPEED).square() + 0.1 * acceleration.square()
        return torch.where(self.stopped(state)[..., None, :], CRASHED, -off)

    def seen(self, rewards: Tensor) -> Tensor:
        return (rewards / SCALE).clamp(-MOST, MOST)
