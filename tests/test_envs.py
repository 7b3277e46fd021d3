"""What is written about each environment against the simulator itself."""

import ast
import importlib.metadata
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.checks.environment import action_sequence, golden
from tests.commands import typed
from tom.envs import spec_of
from tom.envs.simulator import Lockstep, SimulatorError, check_simulator, make
from tom.envs.spec import EnvSpec, never
from tom.settings import environments
from tom.settings.agent import agent_settings
from tom.train import Trainer

ENVS = environments()
# Where the observation is MuJoCo's state: the first coordinate of qpos in it, and the limit of velocities.
OBSERVED = {
    "ant": (2, np.inf),
    "halfcheetah": (1, np.inf),
    "hopper": (1, 10.0),
    "humanoid": (2, np.inf),
    "inverted_pendulum": (0, np.inf),
    "walker2d": (1, 10.0),
}
# What `tom check environment NAME` prints: return and three entries of the observation after 20 steps from seed 0, in
# MuJoCo 3.4.0. In 3.5.0 Ant, Hopper and Humanoid take other steps (by 2.9, 0.01 and 0.1); the others take the same.
GOLDEN = {
    "ant": [3.484522974, 0.896677511, 0.720663264, -1.371381409],
    "halfcheetah": [-8.475546127, -0.136826001, -0.003968111, 1.20249622],
    "hopper": [12.971362969, 1.197260781, -0.247232503, -0.403265161],
    "humanoid": [88.417203868, 0.854109291, 0.987479518, -0.240706923],
    "inverted_pendulum": [20.0, 0.689729188, -1.57384532, 0.369182866],
    "walker2d": [9.989810351, 1.16821013, -0.658977413, -0.814958467],
}


def spec(name: str, contact_cost: bool = True) -> EnvSpec:
    known = spec_of(name, contact_cost)
    assert isinstance(known, EnvSpec)
    return known


@pytest.mark.parametrize("name", OBSERVED)
def test_sizes_are_the_simulator_s(name: str) -> None:
    known = spec(name)
    env: Any = make(known)
    model = env.unwrapped.model
    assert known.observation_dim == model.nq + model.nv - OBSERVED[name][0]
    assert env.observation_space.shape == env.reset(seed=0)[0].shape == (known.observation_dim,)
    assert env.action_space.shape == (known.action_dim,)
    assert env.action_space.low.tolist() == [-1.0] * known.action_dim
    assert env.action_space.high.tolist() == [1.0] * known.action_dim
    assert env.spec.max_episode_steps == 1_000


def seen(name: str, qpos: NDArray[np.float64], qvel: NDArray[np.float64]) -> NDArray[np.float64]:
    first, limit = OBSERVED[name]
    return np.concatenate([qpos[first:], np.clip(qvel, -limit, limit)])


@pytest.mark.parametrize("name", OBSERVED)
def test_observations_are_the_state(name: str) -> None:
    env: Any = make(spec(name))
    data, rng = env.unwrapped.data, np.random.default_rng(0)
    first, _ = env.reset(seed=0)
    np.testing.assert_array_equal(first, seen(name, data.qpos, data.qvel))
    env.unwrapped.do_simulation = lambda *_: None  # a step that leaves the state as it is
    for _ in range(20):
        data.qpos[:], data.qvel[:] = rng.normal(size=data.qpos.size), 20.0 * rng.normal(size=data.qvel.size)
        observation = env.step(env.action_space.sample())[0]
        np.testing.assert_array_equal(observation, seen(name, data.qpos, data.qvel))


def forward_position(name: str, env: Any) -> float:
    """Where the reward of `name` takes the robot to be (m): its root, Ant's torso, Humanoid's centre of mass."""
    world = env.unwrapped
    if name == "humanoid":
        return float(np.average(world.data.xipos[:, 0], weights=world.model.body_mass))
    return float(world.data.body("torso").xpos[0] if name == "ant" else world.data.qpos[0])


@pytest.mark.parametrize("contact_cost", [True, False])
@pytest.mark.parametrize("name", [name for name in OBSERVED if spec_of(name, True).reward])
def test_reward_is_the_simulator_s(name: str, contact_cost: bool) -> None:
    """Every step of some hundred, those on which an episode ends among them; a fall is paid the healthy bonus too."""
    known = spec(name, contact_cost)
    assert known.reward
    env: Any = make(known)
    rng, ends, costs = np.random.default_rng(1), 0, 0.0
    env.reset(seed=1)
    for _ in range(300):
        action = rng.uniform(-1.0, 1.0, known.action_dim).astype(np.float32)
        before = forward_position(name, env)
        observation, reward, terminated, _, _ = env.step(action)
        data = env.unwrapped.data
        np.testing.assert_array_equal(observation, seen(name, data.qpos, data.qvel))
        velocity = (forward_position(name, env) - before) / env.unwrapped.dt
        expected = known.reward(torch.tensor(velocity, dtype=torch.float64), torch.as_tensor(action).double())
        cost = known.contact_cost(data.cfrc_ext) if known.contact_cost else 0.0
        assert float(expected) - cost == pytest.approx(reward, abs=1e-6), f"terminated: {terminated}"
        ends, costs = ends + terminated, costs + cost
        if terminated:
            env.reset()
    assert ends > 0 or known.terminated is never
    assert (costs > 0.0) == bool(known.contact_cost)


@pytest.mark.parametrize("name", ["ant", "humanoid"])
def test_contact_cost_is_that_of_v5(name: str) -> None:
    """-v5 has the formula of -v2, and forces to apply it to."""
    world: Any = gymnasium.make(spec(name).id.replace("v4", "v5")).unwrapped
    cost, rng = spec(name).contact_cost, np.random.default_rng(0)
    assert cost is not None
    for size in (0.0, 1e-3, 1.0, 1e3, 1e6):
        world.data.cfrc_ext[:] = size * rng.normal(size=world.data.cfrc_ext.shape)
        assert cost(world.data.cfrc_ext) == pytest.approx(world.contact_cost, rel=1e-12)


def test_contact_cost_by_hand() -> None:
    forces = np.array([[3.0, -3.0, 0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 1e3]])
    costs = {name: spec(name).contact_cost for name in ENVS}
    found = {name: [cost(forces), cost(10.0 * forces)] for name, cost in costs.items() if cost}
    assert found == {
        "ant": pytest.approx([5e-4 * 3.25, 5e-4 * 4.0]),
        "humanoid": pytest.approx([0.5000091250, 10.0]),
    }
    assert all(spec(name, contact_cost=False).contact_cost is None for name in ENVS)


@pytest.mark.parametrize("contact_cost", [True, False])
def test_the_switch_reaches_training_and_its_evaluation(contact_cost: bool) -> None:
    parts = {"weighting": "uniform", "loss": "nll", "dynamics": "mdn", "backbone": "mbpo"}
    config: dict[str, Any] = {kind: {"name": name} for kind, name in parts.items()}
    loop = {"total_env_steps": 2, "warmup_env_steps": 1, "eval_episodes": 1, "contact_cost": contact_cost}
    config["backbone"]["rollout_starts"] = 1
    trainer = Trainer(agent_settings({"env": "ant", "train": loop, **config}), [0], torch.device("cpu"))
    assert {bool(envs.spec.contact_cost) for envs in (trainer.episodes.envs, trainer.eval_envs)} == {contact_cost}


@pytest.mark.parametrize("name", ENVS)
def test_a_known_trajectory(name: str) -> None:
    assert name in GOLDEN, f"its line is missing; `tom check environment {name}` prints it"
    assert golden(spec(name)) == pytest.approx(GOLDEN[name], abs=1e-6)


@pytest.mark.parametrize("name", ENVS)
def test_an_environment_is_what_its_file_says(name: str) -> None:
    said = typed("check", "environment", name).stdout
    assert said.startswith(f"{name}: {spec(name).id}, {spec(name).observation_dim} observations, ")
    assert ast.literal_eval(f"{{{said.splitlines()[-1]}}}") == {name: pytest.approx(GOLDEN[name], abs=1e-6)}


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


@pytest.mark.parametrize("name", ENVS)
def test_what_is_filmed_is_what_is_simulated(name: str) -> None:
    """The camera and the floor's edge change no bit."""
    known = spec(name)
    actions, seen, filmed = action_sequence(known.action_dim, 40), make(known), make(known, render_mode="rgb_array")
    assert np.array_equal(seen.reset(seed=0)[0], filmed.reset(seed=0)[0])
    for action in actions:
        for one, other in zip(seen.step(action)[:4], filmed.step(action)[:4], strict=True):
            assert np.array_equal(one, other)


def test_a_time_limit_is_no_termination() -> None:
    envs = Lockstep(spec("halfcheetah"), 1)
    envs.reset(0, 0)
    flags = [[bool(flag[0]) for flag in envs.step(np.zeros((1, 6), np.float32), [0])[2:]] for _ in range(1_000)]
    assert flags == [[False, False]] * 999 + [[False, True]]


@pytest.mark.parametrize("name", ["hopper", "humanoid"])
def test_threads_change_no_bit(name: str) -> None:
    """Seven environments in three threads, some of them resting: what one thread gives, in the same order."""
    several, one, draws = Lockstep(spec(name), 7, threads=3), Lockstep(spec(name), 7), np.random.default_rng(0)
    for index in range(7):
        assert np.array_equal(several.reset(index, index), one.reset(index, index))
    for active in ([0, 1, 2, 3, 4, 5, 6], [6, 1, 3, 2], [4], [0, 5]) * 3:
        actions = draws.uniform(-1.0, 1.0, (len(active), several.spec.action_dim)).astype(np.float32)
        for threaded, serial in zip(several.step(actions, active), one.step(actions, active), strict=True):
            assert threaded.tobytes() == serial.tobytes()
