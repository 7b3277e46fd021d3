"""A linear world whose ratio d^pi / d^D is known, and weights from random test functions: what AMPL is held against.

    s' = .9 s + .5 a + .1 e,      pi: a = -.6 s + .3 e,      s0 ~ N(0, .25),      discount .9

The data are independent normals of variance .64. More dimensions of the state, independent noise, change no ratio.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor, nn

from tom.core.replay import Replay

Array = NDArray[np.float64]
DISCOUNT, GAIN, SPREAD, START, WIDE = 0.9, -0.6, 0.3, 0.5, 0.8
VISITS = (1.0 - DISCOUNT) * DISCOUNT ** np.arange(150)


def deviations() -> Array:
    """Standard deviation of the policy's state after 0, 1, 2, ... steps."""
    variances = [START**2]
    for _ in VISITS[1:]:
        variances.append((0.9 + 0.5 * GAIN) ** 2 * variances[-1] + (0.5 * SPREAD) ** 2 + 0.01)
    return np.sqrt(variances)


class Steers(nn.Module):
    """The policy."""

    def samples(self, obs: Tensor, noise: Tensor) -> Tensor:
        return GAIN * obs[:, None, :, :1] + SPREAD * noise


class Data(NamedTuple):
    """Rows (s, a), next states, starts and the true ratio of each row; state and nuisance side by side."""

    obs: Array
    action: Array
    next_obs: Array
    resets: Array
    ratio: Array

    def replay(self, rewards: float = 0.0) -> Replay:
        """The rows as they are: actions are normal draws, which `Replay.from_arrays` would refuse beyond +-1."""
        columns = [self.obs, self.action[:, None], self.next_obs, np.full((len(self.obs), 1), rewards)]
        rows = torch.as_tensor(np.concatenate([*columns, np.zeros((len(self.obs), 2))], 1), dtype=torch.float32)
        replay = Replay(1, len(rows), self.obs.shape[1], 1, rows.device)
        replay.env_step[replay.add(rows[None])] = torch.arange(len(rows))
        for observation in torch.as_tensor(self.resets, dtype=torch.float32):
            replay.push_reset(0, observation)
        return replay


def data(rows: int, own: int, nuisance: int, seed: int) -> Data:
    """So many rows at random, then so many of the policy's own occupancy."""
    draws = np.random.default_rng(seed)
    age = np.minimum(draws.geometric(1.0 - DISCOUNT, own) - 1, len(VISITS) - 1)
    state = np.concatenate([WIDE * draws.normal(size=rows), deviations()[age] * draws.normal(size=own)])
    steered = GAIN * state[rows:] + SPREAD * draws.normal(size=own)
    action = np.concatenate([WIDE * draws.normal(size=rows), steered])
    after = 0.9 * state + 0.5 * action + 0.1 * draws.normal(size=rows + own)
    first = START * draws.normal(size=(1_000, 1))
    noise = [draws.normal(size=(count, nuisance)) for count in (rows + own, rows + own, 1_000)]
    obs, next_obs, resets = (np.c_[part, other] for part, other in zip((state, after, first), noise, strict=True))
    return Data(obs, action, next_obs, resets, true_ratio(state, action))


def true_ratio(state: Array, action: Array) -> Array:
    """d^pi / d^D of the random rows' distribution."""
    visited = sum(share * norm.pdf(state, 0.0, std) for share, std in zip(VISITS, deviations(), strict=True))
    chosen = norm.pdf(action, GAIN * state, SPREAD)
    return np.asarray(visited * chosen / (norm.pdf(state, 0.0, WIDE) * norm.pdf(action, 0.0, WIDE)))


Functions = Callable[[Array], Array]


def cosines(inputs: int, count: int, scale: float, seed: int) -> Functions:
    """Random Fourier features (Rahimi and Recht, 2007) of (s, a): [N, inputs] -> [N, count]."""
    draws = np.random.default_rng(seed)
    waves, phases = draws.normal(size=(inputs, count)) * scale, draws.uniform(0.0, 2.0 * math.pi, count)
    return lambda x: math.sqrt(2.0 / count) * np.cos(x @ waves + phases)


def value_alone(x: Array) -> Array:
    """Q^pi of the reward -(s^2 + .1 a^2), but for a constant: [N, 2] -> [N, 1]."""
    state, action = x.T
    curvature = (1.0 + 0.1 * GAIN**2) / (1.0 - DISCOUNT * (0.9 + 0.5 * GAIN) ** 2)
    return -(state**2 + 0.1 * action**2 + DISCOUNT * curvature * (0.9 * state + 0.5 * action) ** 2)[:, None]


def weights_by(tests: Functions, found: Data, seed: int, basis: Functions, ridge: float = 1e-6) -> Array:
    """w = 1 + basis . alpha of least squares on the Bellman equations of the test functions, in closed form: [N]."""
    draws = np.random.default_rng([seed, 1])  # others than those of the data

    def acted(obs: Array) -> Array:
        return np.c_[obs, GAIN * obs[:, :1] + SPREAD * draws.normal(size=(len(obs), 1))]

    following = np.mean([tests(acted(found.next_obs)) for _ in range(4)], 0)
    rows = np.c_[found.obs, found.action]
    missing, phi = tests(rows) - DISCOUNT * following, basis(rows)
    wanted = (1.0 - DISCOUNT) * tests(acted(found.resets)).mean(0) - missing.mean(0)
    system = missing.T @ phi / len(rows)
    alpha = np.linalg.solve(system.T @ system + ridge * np.eye(phi.shape[1]), system.T @ wanted)
    return np.maximum(0.0, 1.0 + phi @ alpha)


def correlation(weights: Array | Tensor, ratio: Array) -> float:
    return float(np.corrcoef(torch.as_tensor(weights).double().numpy(), ratio)[0, 1])
