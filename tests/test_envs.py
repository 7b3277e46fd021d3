"""What is written about each environment against the simulator itself."""

import importlib
import importlib.metadata
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tom.envs import names
from tom.envs.simulator import Lockstep, SimulatorError, check_simulator, make
from tom.envs.spec import EnvSpec

ENVS = names()


def spec(name: str) -> EnvSpec:
    known = importlib.import_module(f"tom.envs.{name}").SPEC
    assert isinstance(known, EnvSpec)
    return known


# Return and three entries of the observation after ten steps of `action_sequence` from seed 0, pinned simulator.
GOLDEN = {
    "halfcheetah": [-1.702529953, -0.020809402, 0.215928901, -0.093631149],
    "hopper": [8.142838816, 1.22159417, -0.098465146, -0.397519561],
}


def action_sequence(size: int, count: int) -> NDArray[np.float32]:
    """Smooth, and never near a limit of the range."""
    steps, parts = np.indices((count, size))
    return (0.8 * np.sin(0.7 * steps + 1.3 * parts)).astype(np.float32)


def states(count: int, positions: int, velocities: int) -> NDArray[np.float64]:
    """Random, near-threshold, far-out and broken states (qpos, qvel)."""
    rng = np.random.default_rng(0)
    width = positions + velocities
    base = rng.normal(size=(count, width)) * rng.choice([0.05, 0.3, 2.0, 20.0], size=(count, 1))
    base[:, 1] += rng.choice([0.0, 0.7, 1.25], size=count)
    near = rng.random(count) < 0.4
    base[near, 1] = 0.7 + rng.choice([-1e-6, 0.0, 1e-6, 0.1], size=near.sum())
    base[near, 2] = rng.choice([-1.0, 1.0], size=near.sum()) * (
        0.2 + rng.choice([-1e-6, 0.0, 1e-6, -0.1], size=near.sum())
    )
    base[near, 3:] *= 0.01
    odd = rng.random(count) < 0.4
    values = [np.nan, np.inf, -np.inf, 1e6, -1e6, 99.999999, 100.0, -100.0, -99.999999]
    base[odd, rng.integers(1, width, size=odd.sum())] = rng.choice(values, size=odd.sum())
    return base


@pytest.mark.parametrize("name", ENVS)
def test_sizes_are_the_simulator_s(name: str) -> None:
    known = spec(name)
    env: Any = make(known)
    assert env.observation_space.shape == (known.observation_dim,)
    assert env.action_space.shape == (known.action_dim,)
    assert env.action_space.low.tolist() == [-1.0] * known.action_dim
    assert env.action_space.high.tolist() == [1.0] * known.action_dim
    assert env.spec.max_episode_steps == 1_000


@pytest.mark.parametrize("name", ENVS)
def test_termination_is_the_simulator_s(name: str) -> None:
    """Equal on 4000 states but where a velocity of 100 or more, which the observation clips, is all that is wrong."""
    known = spec(name)
    env: Any = make(known).unwrapped
    env.reset(seed=0)
    rule = getattr(type(env), "terminated", None)
    expected, observed, hidden = [], [], []
    for state in states(4_000, env.model.nq, env.model.nv):
        env.data.qpos[:], env.data.qvel[:] = state[: env.model.nq], state[env.model.nq :]
        expected.append(bool(env.terminated) if rule else False)
        observed.append(env._get_obs())
        hidden.append(bool((np.abs(env.data.qvel) >= 100.0).any()))
    flagged = known.terminated(torch.as_tensor(np.stack(observed))).numpy()
    seen = ~np.array(hidden)
    np.testing.assert_array_equal(flagged[seen], np.array(expected)[seen])
    assert not (flagged & ~np.array(expected)).any()
    if rule:
        assert 0.1 < np.mean(expected) < 0.95
    else:
        assert not flagged.any()


def test_halfcheetah_never_ends() -> None:
    assert not spec("halfcheetah").terminated(torch.full((5, 17), torch.nan)).any()
    assert spec("halfcheetah").terminated(torch.zeros(2, 3, 17)).shape == (2, 3)


def test_hopper_by_hand() -> None:
    upright = torch.zeros(11)
    upright[0] = 1.25
    falls = {0: 0.69, 1: 0.21, 4: 100.0, 7: torch.nan, 10: -torch.inf}
    rows = upright.repeat(len(falls) + 1, 1)
    for row, (column, value) in enumerate(falls.items()):
        rows[row, column] = value
    assert spec("hopper").terminated(rows).tolist() == [True] * len(falls) + [False]


@pytest.mark.parametrize("name", ENVS)
def test_reward_is_the_simulator_s(name: str) -> None:
    """Every step of some hundred, those on which an episode ends among them."""
    known = spec(name)
    env: Any = make(known)
    rng, ends = np.random.default_rng(1), 0
    env.reset(seed=1)
    for _ in range(400):
        action = rng.uniform(-1.0, 1.0, known.action_dim).astype(np.float32)
        _, reward, terminated, truncated, info = env.step(action)
        velocity = torch.tensor(info["x_velocity"], dtype=torch.float64)
        expected = known.reward(velocity, torch.as_tensor(action).double())
        assert float(expected) == pytest.approx(reward, abs=1e-6), f"terminated: {terminated}"
        ends += terminated
        if terminated or truncated:
            env.reset()
    assert ends > 0 or name == "halfcheetah"


@pytest.mark.parametrize("name", ENVS)
def test_a_known_trajectory(name: str) -> None:
    known = spec(name)
    env: Any = make(known)
    env.reset(seed=0)
    total = 0.0
    for action in action_sequence(known.action_dim, 10):
        obs, reward, *_ = env.step(action)
        total += reward
    assert [total, *obs[:2], obs[known.observation_dim // 2]] == pytest.approx(GOLDEN[name], abs=1e-6)


def test_another_simulator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOM_MUJOCO", raising=False)
    check_simulator()
    installed = importlib.metadata.version("mujoco")
    monkeypatch.setenv("TOM_MUJOCO", "9.9.9")
    with pytest.raises(SimulatorError, match=f"mujoco {installed} is installed, the results need 9.9.9"):
        make(spec("hopper"))
    monkeypatch.setenv("TOM_MUJOCO", installed)
    check_simulator()


def stepped_alone(known: EnvSpec, seed: int, actions: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    env: Any = make(known)
    rows = [env.reset(seed=seed)[0]]
    for action in actions:
        obs, reward, terminated, truncated, _ = env.step(action)
        rows.append(np.array([*obs, reward, terminated, truncated]))
    return rows


@pytest.mark.parametrize("name", ENVS)
def test_side_by_side_is_one_by_one(name: str) -> None:
    known = spec(name)
    actions, alone = action_sequence(known.action_dim, 12), []
    for index in range(3):
        alone.append(stepped_alone(known, 10 + index, actions * (1.0 - 0.3 * index)))
    envs = Lockstep(known, 3)
    for index in range(3):
        np.testing.assert_array_equal(envs.reset(index, 10 + index), alone[index][0])
    for step, action in enumerate(actions):
        active = [0, 1, 2] if step < 6 else [0, 2]  # one of them rests for the second half
        scaled = np.stack([action * (1.0 - 0.3 * index) for index in active]).astype(np.float32)
        parts = envs.step(scaled, active)
        rows = np.concatenate([parts[0], np.stack(parts[1:], -1)], -1)
        np.testing.assert_array_equal(rows, np.stack([alone[index][step + 1] for index in active]))


def test_a_time_limit_is_no_termination() -> None:
    envs = Lockstep(spec("halfcheetah"), 1)
    envs.reset(0, 0)
    flags = [[bool(flag[0]) for flag in envs.step(np.zeros((1, 6), np.float32), [0])[2:]] for _ in range(1_000)]
    assert flags == [[False, False]] * 999 + [[False, True]]
