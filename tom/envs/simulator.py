"""Real environments, several at a time."""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np

from tom.envs.spec import EnvSpec
from tom.settings.fields import SettingsError

MUJOCO = "3.4.0"  # from 3.5.0 contact margins add up: Hopper, Ant and Humanoid take other steps


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
    """One environment as its spec describes it; actions are scaled from [-1, 1] to its own range."""
    check_simulator()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # -v4 is the paper's closest kin, see reports/deviations.md
        env: Any = gymnasium.make(spec.id, **options)
    data, size, cost = env.unwrapped.data, spec.observation_dim, spec.contact_cost
    space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float64)
    env = gymnasium.wrappers.TransformObservation(env, lambda obs: obs[:size], space)
    if cost is not None:
        env = gymnasium.wrappers.TransformReward(env, lambda reward: float(reward) - cost(data.cfrc_ext))
    return gymnasium.wrappers.RescaleAction(env, np.float32(-1.0), np.float32(1.0))


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
        observations, rewards, *ends = zip(*steps, strict=True)
        paid, terminated, truncated = np.array(rewards), *(np.array(flags, dtype=bool) for flags in ends)
        for name, found in (("reward", paid), ("terminated", terminated), ("truncated", truncated)):
            if found.shape != (len(pairs),):
                raise SettingsError(f"{self.spec.id}: {name} is {found[0]}; nearest valid choice: one number a step")
        return np.stack(observations), paid, terminated, truncated

    def _steps(self, pairs: Sequence[tuple[int, np.ndarray]]) -> list[tuple[Any, ...]]:
        return [self.envs[index].step(action)[:4] for index, action in pairs]


def interleaved(groups: Sequence[Sequence[Any]], count: int) -> list[Any]:
    """`count` items in the order in which they were dealt out, one to each of the groups in turn."""
    return [groups[place % len(groups)][place // len(groups)] for place in range(count)]
