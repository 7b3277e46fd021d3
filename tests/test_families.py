"""Families of tasks: their dynamics by hand, what MuJoCo derives of masses, and that tasks neither leak nor add up."""

import math
from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from tom.core.several import several
from tom.core.streams import streams
from tom.envs import spec_of
from tom.families import pendulum
from tom.families.base import build, check_disjoint, tasks
from tom.families.halfcheetah import BASES, apply
from tom.families.simulated import TaskLockstep
from tom.settings.families.halfcheetah import Settings as Cheetahs
from tom.settings.families.pendulum import Settings as Pendulums
from tom.settings.fields import SettingsError

CPU = torch.device("cpu")
HEAVY = np.linspace(0.8, 1.4, len(BASES))


def test_a_pendulum_by_hand() -> None:
    """(g, l, m) = (10, 2, 3), theta = pi / 2, w = 7.9, 1 N m: w grows by 0.05 (7.5 + 3 / 12), and is cut at 8."""
    parameters, obs = torch.tensor([10.0, 2.0, 3.0]), torch.tensor([math.cos(math.pi / 2), 1.0, 7.9])
    after = pendulum.step(parameters, obs, torch.tensor([0.5]))
    angle = math.pi / 2 + 0.05 * (7.9 + 0.05 * 7.75)
    torch.testing.assert_close(after, torch.tensor([math.cos(angle), math.sin(angle), 8.0]))
    paid = pendulum.reward(obs, torch.tensor([0.5]), after)
    assert paid == pytest.approx(-(math.pi**2 / 4 + 0.1 * 7.9**2 + 0.001), rel=1e-6)


def test_a_small_swing_has_its_period() -> None:
    """A hanging pendulum's small swing has the frequency sqrt(3 g / 2 l)."""
    family, parameters = build(Pendulums()), torch.tensor([[10.0, 1.0, 1.0]])
    step, obs = family.dynamics(parameters), torch.tensor([[[math.cos(math.pi - 0.05), math.sin(math.pi - 0.05), 0.0]]])
    assert step is not None
    angles = []
    for _ in range(400):
        obs = step(obs, torch.zeros(1, 1, 1))
        angles.append(float(obs[0, 0, 1]))
    crossings = np.flatnonzero(np.diff(np.sign(angles)))
    period = 2.0 * 0.05 * np.diff(crossings).mean()
    assert period == pytest.approx(2.0 * math.pi / math.sqrt(15.0), rel=0.02)


@pytest.mark.parametrize("settings", [Pendulums(spread=0.5), Cheetahs(spread=0.5)], ids=["pendulum", "halfcheetah"])
def test_tasks_follow_the_seed_alone_and_lie_in_their_range(settings: Pendulums | Cheetahs) -> None:
    family = build(settings)
    (train, test), (again, _) = (tasks(family, streams(seeds, CPU)["env"], 4, 2) for seeds in ([3, 4], [4]))
    assert torch.equal(train[1], again[0]) and not torch.equal(train[0], train[1])
    drawn = torch.cat([train, test], 1)
    standard = torch.tensor(pendulum.STANDARD if len(drawn[0, 0]) == 3 else [1.0] * len(BASES))
    assert ((drawn / standard).log().abs() <= 0.5 * math.log(1.5) + 1e-6).all()


def test_a_test_task_among_the_train_tasks_is_refused() -> None:
    train, test = torch.rand(2, 3, 5), torch.rand(2, 2, 5)
    check_disjoint(train, test)
    test[1, 0] = train[1, 2]
    with pytest.raises(SettingsError, match="test task 0 of replica 1 is its train task 2"):
        check_disjoint(train, test)


def test_what_mujoco_derives_of_masses_follows_them() -> None:
    envs = TaskLockstep(spec_of("halfcheetah", True), 1, apply)
    world: Any = envs.envs[0].unwrapped
    model = world.model
    inverse = model.dof_invweight0.copy()
    envs.set_task(0, HEAVY)
    assert model.body_subtreemass[1] == pytest.approx(model.body_mass.sum())
    assert np.abs(model.dof_invweight0 / inverse - 1.0).max() > 0.05
    ratios = model.body_inertia[1:8] / model.body_mass[1:8, None]
    envs.set_task(0, np.ones(len(BASES)))
    assert ratios == pytest.approx(model.body_inertia[1:8] / model.body_mass[1:8, None])
    mujoco.mj_setConst(model, world.data)
    assert model.dof_invweight0 == pytest.approx(inverse)


def test_a_task_is_set_once_and_gone_with_the_next() -> None:
    """Twice is once, and the standard task gives the first trajectory back to the bit."""
    spec, actions = spec_of("halfcheetah", True), np.random.default_rng(0).uniform(-1, 1, (60, 6))
    envs = TaskLockstep(spec, 2, apply)
    plain = envs.replay(0, 5, actions)
    envs.set_task(0, HEAVY)
    heavy = envs.replay(0, 5, actions)
    envs.set_task(0, HEAVY)
    assert np.array_equal(envs.replay(0, 5, actions), heavy) and not np.allclose(heavy, plain, atol=0.1)
    assert np.array_equal(envs.replay(1, 5, actions), plain)
    envs.set_task(0, np.ones(len(BASES)))
    assert np.array_equal(envs.replay(0, 5, actions), plain)


def test_an_episode_in_a_task_goes_on_exactly() -> None:
    """What a resume does: a fresh lockstep, the task, the actions so far."""
    spec, actions = spec_of("halfcheetah", True), np.random.default_rng(1).uniform(-1, 1, (40, 6))
    first, second = (TaskLockstep(spec, 1, apply) for _ in range(2))
    for envs in (first, second):
        envs.set_task(0, HEAVY)
    first.replay(0, 7, actions)
    second.replay(0, 7, actions[:25])
    for action in actions[25:]:
        second.step(action[None], [0])
    worlds: list[Any] = [envs.envs[0].unwrapped for envs in (first, second)]
    states = [world.data for world in worlds]
    assert np.array_equal(states[0].qpos, states[1].qpos) and np.array_equal(states[0].qvel, states[1].qvel)


@pytest.mark.parametrize("settings", [Pendulums(), Cheetahs()], ids=["pendulum", "halfcheetah"])
def test_worlds_do_not_meet(settings: Pendulums | Cheetahs) -> None:
    """A world's episode is the same alone as beside others."""
    family = build(settings)
    parameters = family.parameters(streams([0], CPU)["env"], 3)[0]
    together, stream = family.worlds(parameters), several(streams([1], CPU)["env"], 3)
    alone, own = family.worlds(parameters[2:]), several(streams([1], CPU)["env"], 3)
    own.generators = own.generators[2:]
    assert torch.equal(together.reset(stream)[2:], alone.reset(own))
    for _ in range(5):
        action = torch.full((3, family.action_dim), 0.7)
        (obs, paid), (obs_alone, paid_alone) = together.step(action), alone.step(action[2:])
        assert torch.equal(obs[2:], obs_alone) and torch.equal(paid[2:], paid_alone)
