"""Each termination rule against the simulator's own judgement of the same states."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.test_envs import OBSERVED
from tom.envs import spec_of
from tom.envs.simulator import make

STATES = 10_000
# Where the observation is MuJoCo's state: thresholds of each coordinate of qpos, with a value of it that is healthy.
EDGES: dict[str, dict[int, tuple[float, list[float]]]] = {
    "ant": {2: (0.6, [0.2, 1.0])},
    "halfcheetah": {},
    "hopper": {1: (1.25, [0.7]), 2: (0.0, [-0.2, 0.2])},
    "humanoid": {2: (1.4, [1.0, 2.0])},
    "inverted_pendulum": {1: (0.0, [-0.2, 0.2])},
    "walker2d": {1: (1.25, [0.8, 2.0]), 2: (0.0, [-1.0, 1.0])},
}
BROKEN = [np.nan, np.inf, -np.inf, 1e6, -1e6, 100.0, -100.0, 99.999999, -99.999999]


def states(name: str, width: int) -> NDArray[np.float64]:
    """Random, near-threshold, far-out and broken states: rows of qpos, qvel."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(STATES, width)) * rng.choice([0.05, 0.3, 2.0, 20.0], size=(STATES, 1))
    calm = rng.random(STATES) < 0.6
    rows[calm] *= 0.01
    for column, (healthy, edges) in EDGES[name].items():
        rows[:, column] += healthy
        near = np.flatnonzero(rng.random(STATES) < 0.3)
        offsets = rng.choice([-0.01, -1e-6, -1e-15, 0.0, 1e-15, 1e-6, 0.01], size=near.size)
        rows[near, column] = rng.choice(edges, size=near.size) + offsets
    odd = np.flatnonzero(rng.random(STATES) < 0.2)
    rows[odd, rng.integers(OBSERVED[name][0], width, size=odd.size)] = rng.choice(BROKEN, size=odd.size)
    return rows


def judged(env: Any, rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Observations and ends of steps that leave the simulator in these very states."""
    world, found = env.unwrapped, []
    world.do_simulation = lambda *_: None
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape, np.float32)
    with np.errstate(all="ignore"):
        for row in rows:
            world.data.qpos[:], world.data.qvel[:] = np.split(row, [world.model.nq])
            found.append(env.step(action)[0:3:2])
    observations, terminated = zip(*found, strict=True)
    return np.stack(observations), np.array(terminated)


@pytest.mark.parametrize("name", EDGES)
def test_termination_is_the_simulator_s(name: str) -> None:
    """Equal on every state but where a velocity of 100 or more, which Hopper's observation clips, decides alone."""
    known = spec_of(name, contact_cost=True)
    env: Any = make(known)
    rows = states(name, env.unwrapped.model.nq + env.unwrapped.model.nv)
    observations, expected = judged(env, rows)
    flagged = known.terminated(torch.as_tensor(observations)).numpy()
    unseen = (np.abs(rows[:, env.unwrapped.model.nq :]) >= 100.0).any(-1) & (name == "hopper")
    np.testing.assert_array_equal(flagged[~unseen], expected[~unseen])
    assert not (flagged & ~expected).any()
    assert unseen.mean() < 0.1
    assert 0.2 < expected.mean() < 0.8 or not EDGES[name]


def test_halfcheetah_never_ends() -> None:
    rule = spec_of("halfcheetah", contact_cost=True).terminated
    assert not rule(torch.full((5, 17), torch.nan)).any()
    assert rule(torch.zeros(2, 3, 17)).shape == (2, 3)


BY_HAND: list[tuple[str, float, list[tuple[int, float]], list[tuple[int, float]]]] = [
    # environment, a healthy height; entries of the observation that end an episode; entries that do not
    ("ant", 0.6, [(0, 0.19), (0, 1.01), (26, torch.nan), (5, torch.inf)], [(0, 0.2), (0, 1.0), (26, 1e6)]),
    ("hopper", 1.25, [(0, 0.7), (1, 0.21), (4, -100.0), (7, torch.nan), (10, -torch.inf)], [(0, 9.0), (4, -99.0)]),
    ("humanoid", 1.4, [(0, 1.0), (0, 2.0), (0, torch.nan)], [(0, 1.01), (0, 1.99), (44, torch.nan)]),
    ("inverted_pendulum", 0.0, [(1, 0.21), (1, -0.21), (3, torch.nan), (0, torch.inf)], [(1, 0.19), (0, 1e6)]),
    ("walker2d", 1.25, [(0, 0.79), (0, 2.0), (1, 1.0), (1, -1.0), (0, torch.nan)], [(1, 0.9), (16, torch.nan)]),
]


@pytest.mark.parametrize(("name", "height", "ends", "goes_on"), BY_HAND, ids=[case[0] for case in BY_HAND])
def test_termination_by_hand(
    name: str, height: float, ends: list[tuple[int, float]], goes_on: list[tuple[int, float]]
) -> None:
    known = spec_of(name, contact_cost=True)
    rows = torch.zeros(1, len(ends) + len(goes_on), known.observation_dim)
    rows[..., 0] = height
    for row, (column, value) in enumerate([*ends, *goes_on]):
        rows[0, row, column] = value
    assert known.terminated(rows).tolist() == [[True] * len(ends) + [False] * len(goes_on)]
