"""An environment as it is beside what its spec says, and the numbers that its test wants: for those who add one."""

from typing import Any

import numpy as np

from pipeline.config.refusals import check_env
from tom.settings.fields import SettingsError

GOLDEN_STEPS, TRIED_STEPS = 20, 300


def environment(env: str) -> str:
    """What is seen of the environment, then its line of GOLDEN in tests/test_envs.py.

    SettingsError if it cannot be made, is not what its spec says, or ends episodes where its rule does not.
    """
    from tom.envs import spec_of
    from tom.envs.spec import unknown

    spec = spec_of(check_env(env), contact_cost=True)
    rewards, ends, length = tried(spec)
    known = "not known: for methods without a model" if spec.terminated is unknown else "as terminated(next_obs) says"
    return "\n".join(
        [
            f"{env}: {spec.id}, {spec.observation_dim} observations, {spec.action_dim} actions in [-1, 1], "
            f"episodes of at most {length} steps",
            f"{TRIED_STEPS} random steps: rewards from {rewards.min():.4g} to {rewards.max():.4g}, "
            f"{ends} terminal, {known}",
            f'    "{env}": {golden(spec)},',
        ]
    )


def tried(spec: Any) -> tuple[np.ndarray, int, int]:
    """Rewards of random steps, how many of these ended an episode, and the length at which one is cut."""
    import torch

    from tom.envs.simulator import Lockstep
    from tom.envs.spec import unknown

    envs, draws = Lockstep(spec, 1), np.random.default_rng(0)
    rewards, ends = np.zeros(TRIED_STEPS), 0
    envs.reset(0, 0)
    for step in range(TRIED_STEPS):
        action = draws.uniform(-1.0, 1.0, (1, spec.action_dim)).astype(np.float32)
        obs, rewards[step : step + 1], terminated, truncated = envs.step(action, [0])
        ends += int(terminated[0])
        said = terminated if spec.terminated is unknown else spec.terminated(torch.as_tensor(obs)).numpy()
        if said[0] != terminated[0]:
            raise SettingsError(
                f"{spec.id}: after {step + 1} random steps terminated(next_obs) is {said[0]}, and the simulator says "
                f"{terminated[0]} of {obs[0].round(4).tolist()}; nearest valid choice: the simulator's rule"
            )
        if terminated[0] or truncated[0]:
            envs.reset(0, step)
    env: Any = envs.envs[0]
    return rewards, ends, env.spec.max_episode_steps


def golden(spec: Any) -> list[float]:
    """Return, and three entries of the observation, after `GOLDEN_STEPS` steps of `action_sequence` from seed 0."""
    from tom.envs.simulator import make

    env: Any = make(spec)
    obs, total = env.reset(seed=0)[0], 0.0
    for action in action_sequence(spec.action_dim, GOLDEN_STEPS):
        obs, reward, *_ = env.step(action)
        total += reward
    return [round(float(value), 9) for value in (total, *obs[:2], obs[spec.observation_dim // 2])]


def action_sequence(size: int, count: int) -> np.ndarray:
    """Actions [count, size] in [-1, 1]: smooth, and never near a limit of the range."""
    steps, parts = np.indices((count, size))
    return (0.8 * np.sin(0.7 * steps + 1.3 * parts)).astype(np.float32)
