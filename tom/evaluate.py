"""How good a policy is: deterministic episodes on environments of its own."""

import numpy as np
import torch

from tom.core.context import Deterministic
from tom.envs.simulator import Lockstep


@torch.no_grad()
def evaluate(policy: Deterministic, envs: Lockstep, seeds: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Undiscounted returns and lengths [R, episodes] of the policy's mode, one episode per seed, in lockstep.

    envs holds R * episodes environments, replica by replica; the policy is on the CPU.
    """
    replicas, episodes = len(seeds), len(seeds[0])
    flat_seeds = [seed for row in seeds for seed in row]
    observations = np.stack([envs.reset(i, seed) for i, seed in enumerate(flat_seeds)])
    returns, lengths = np.zeros(len(flat_seeds)), np.zeros(len(flat_seeds), dtype=np.int64)
    active = np.arange(len(flat_seeds))
    while len(active):
        batch = torch.as_tensor(observations, dtype=torch.float32).view(replicas, episodes, -1)
        actions = policy.mode(batch).flatten(0, 1).numpy()
        stepped, rewards, terminated, truncated = envs.step(actions[active], active.tolist())
        observations[active] = stepped
        returns[active] += rewards
        lengths[active] += 1
        active = active[~(terminated | truncated)]
    return returns.reshape(replicas, episodes), lengths.reshape(replicas, episodes)
