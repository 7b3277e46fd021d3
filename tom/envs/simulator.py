"""Real environments, several at a time."""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from tom.envs.spec import EnvSpec
from tom.settings.fields import SettingsError

MUJOCO = "3.4.0"  # from 3.5.0 contact margins add up: Hopper, Ant and Humanoid take other steps
TRACK, WIDER = "track", 1.5  # the camera's name in gymnasium's models; how much farther off one without is filmed
PLANE = 0  # MuJoCo's number for that kind of body


class SimulatorError(RuntimeError):
    """The installed simulator is not the one the results were made with."""


def check_simulator() -> None:
    """SimulatorError unless MuJoCo is the pinned version, or the one that TOM_MUJOCO names."""
    installed, wanted = version("mujoco"), os.environ.get("TOM_MUJOCO", MUJOCO)
    if installed != wanted:
        raise SimulatorError(
            f"mujoco {installed} is installed, the results need {wanted}: physics differ between versions. "
            f"Install mujoco=={wanted}, or set TOM_MUJOCO={installed} to run with this one."
        )


def make(spec: EnvSpec, **options: Any) -> gymnasium.Env:
    """One environment as its spec describes it; actions are scaled from [-1, 1] to its own range.

    `options` are gymnasium's; with a `render_mode` the camera goes along with a robot that has one to do so.
    SettingsError for one that cannot be made, or is not what the spec says.
    """
    check_simulator()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # -v4 is the paper's closest kin, see reports/deviations.md
        try:
            env: Any = gymnasium.make(spec.id, **{"max_episode_steps": spec.max_episode_steps} | options)
        except (gymnasium.error.Error, ImportError) as error:
            raise SettingsError(f"{spec.id} cannot be made here: {' '.join(str(error).split())}") from error
    if not (isinstance(env.observation_space, Box) and len(env.observation_space.shape) == 1):
        env = gymnasium.wrappers.FlattenObservation(env)
    check_kind(spec, env)
    if "render_mode" in options and not options.keys() & {"camera_id", "camera_name"}:
        follow(env.unwrapped)
    size, cost = spec.observation_dim, spec.contact_cost
    space = Box(-np.inf, np.inf, (size,), np.float64)
    env = gymnasium.wrappers.TransformObservation(env, lambda obs: obs[:size], space)
    if cost is not None:
        data = env.unwrapped.data
        env = gymnasium.wrappers.TransformReward(env, lambda reward: float(reward) - cost(data.cfrc_ext))
    number = env.action_space.dtype.type
    return gymnasium.wrappers.RescaleAction(env, number(-1.0), number(1.0))


def follow(world: Any) -> None:
    """Films a MuJoCo model by its camera `track`, and one that has none, since it stays on its rails, from farther off.

    Gymnasium 1.4.0 leaves its own camera in use, which stays where it is: a robot that runs is out of the picture soon.
    The floor is drawn without an end, as it is simulated.
    """
    if not hasattr(world, "mujoco_renderer"):
        return
    model, renderer = world.model, world.mujoco_renderer
    names = [model.camera(index).name for index in range(model.ncam)]
    if TRACK in names:
        renderer.camera_id = names.index(TRACK)
    else:
        config = renderer.default_cam_config or {}
        renderer.default_cam_config = {**config, "distance": WIDER * config.get("distance", model.stat.extent)}
    for plane in np.flatnonzero((model.geom_type == PLANE) & (model.geom_size[:, 0] > 0.0)):
        if (material := model.geom_matid[plane]) >= 0:
            model.mat_texrepeat[material] /= 2.0 * model.geom_size[plane, :2]  # from then on per metre
        model.geom_size[plane, :2] = 0.0


def check_kind(spec: EnvSpec, env: Any) -> None:
    """SettingsError unless actions are a bounded box of real numbers, episodes end, and the spec's sizes are right."""
    actions, there = env.action_space, env.observation_space.shape[0]
    box = isinstance(actions, Box) and len(actions.shape) == 1 and np.issubdtype(actions.dtype, np.floating)
    if not box or not actions.is_bounded():
        raise SettingsError(
            f"{spec.id}: its actions are {actions}; nearest valid choice: an environment whose actions are a bounded, "
            "flat box of real numbers"
        )
    if actions.shape[0] != spec.action_dim:
        raise SettingsError(f"{spec.id}: action_dim={spec.action_dim}; nearest valid value: {actions.shape[0]}")
    if spec.observation_dim > there or (spec.observation_dim < there and not spec.observation):
        raise SettingsError(
            f"{spec.id}: observation_dim={spec.observation_dim}; nearest valid value: {there}, or fewer with words on "
            "which these are in `observation`"
        )
    if env.spec.max_episode_steps is None:
        raise SettingsError(
            f"{spec.id} cuts no episode, so that one might never end; nearest valid choice: max_episode_steps=1000 in "
            "its SPEC"
        )


class Lockstep:
    """Several environments stepped side by side, in as many threads as there are groups of them.

    An environment is its own world, so the threads change no bit; they pay where a step's physics outlasts its Python.
    """

    def __init__(self, spec: EnvSpec, count: int, threads: int = 1):
        self.spec = spec
        self.envs = [make(spec) for _ in range(count)]
        self.threads = min(threads, count)
        self.pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def reset(self, index: int, seed: int) -> np.ndarray:
        """Starts a new episode in one environment; its first observation [O]."""
        return self.envs[index].reset(seed=seed)[0]

    def replay(self, index: int, seed: int, actions: np.ndarray) -> np.ndarray:
        """Brings one environment into the middle of an episode by actions [n, A]; its observation there [O].

        What led there, done again, is exact to the bit. The simulator's state alone is not: the rewards of Ant and
        Humanoid use positions that lag behind it.
        """
        observation = self.reset(index, seed)
        for action in actions:
            observation = self.envs[index].step(action)[0]
        return observation

    def step(self, actions: np.ndarray, active: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Steps the active ones with actions [n, A]: observations [n, O], rewards, terminated, truncated [n]."""
        pairs = list(zip(active, actions, strict=True))
        if self.pool is None:
            steps = self._steps(pairs)
        else:
            groups = self.pool.map(self._steps, [pairs[start :: self.threads] for start in range(self.threads)])
            steps = interleaved(list(groups), len(pairs))
        observations, *rest = zip(*steps, strict=True)
        rewards, terminated, truncated = np.array(rest[0]), np.array(rest[1], bool), np.array(rest[2], bool)
        if not rewards.shape == terminated.shape == truncated.shape == (len(pairs),):
            told = f"reward={rewards[0]}, terminated={terminated[0]}, truncated={truncated[0]}"
            raise SettingsError(f"{self.spec.id}: {told}; nearest valid choice: one number each")
        return np.stack(observations), rewards, terminated, truncated

    def _steps(self, pairs: Sequence[tuple[int, np.ndarray]]) -> list[tuple[Any, ...]]:
        return [self.envs[index].step(action)[:4] for index, action in pairs]


def interleaved(groups: Sequence[Sequence[Any]], count: int) -> list[Any]:
    """`count` items in the order in which they were dealt out, one to each of the groups in turn."""
    return [groups[place % len(groups)][place // len(groups)] for place in range(count)]
