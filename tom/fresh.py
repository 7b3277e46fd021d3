"""Fresh transitions of a policy, for those who only look: its own environments, its own random numbers."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from tom.core.networks import Policy
from tom.core.replay import rows_of
from tom.core.streams import Stream
from tom.envs.simulator import Lockstep
from tom.envs.spec import EnvSpec
from tom.settings.train import Settings


class Fresh:
    """R policies acting as in training, in as many environments as there are whole episodes in `probe_rows`."""

    def __init__(self, spec: EnvSpec, replicas: int, settings: Settings, threads: int):
        self.spec, self.replicas, self.threads = spec, replicas, threads
        self.count, self.length = settings.probe_rows, settings.episode_env_steps
        self.each = max(1, self.count // self.length)  # so that all of an episode is seen

    @cached_property
    def envs(self) -> Lockstep:
        """Made when they are first needed: most runs never do."""
        return Lockstep(self.spec, self.replicas * self.each, self.threads)

    @torch.no_grad()
    def rows(self, policy: Policy, stream: Stream) -> Tensor:
        """`probe_rows` transitions of the policy, on the CPU, from episodes that begin anew: [R, probe_rows, W].

        Actions are sampled; an episode that ends, or is cut as in training, is followed by another one.
        """
        shape, kept = (self.replicas, self.each), []
        seeds = [seed for row in stream.seeds(self.each) for seed in row]
        observations = np.stack([self.envs.reset(place, seed) for place, seed in enumerate(seeds)])
        steps = np.zeros(len(observations), dtype=np.int64)
        for _ in range(-(-self.count // self.each)):
            obs = torch.as_tensor(observations, dtype=torch.float32).view(*shape, -1)
            actions = policy.sample(obs, stream.normal(self.each, self.spec.action_dim))
            observations, *ends = self.envs.step(actions.flatten(0, 1).numpy(), range(len(steps)))
            steps += 1
            next_obs = torch.as_tensor(observations, dtype=torch.float32).view(*shape, -1)
            kept.append(rows_of(obs, actions, next_obs, *(end.reshape(shape) for end in ends)))
            for place in np.flatnonzero(ends[1] | ends[2] | (steps >= self.length)):
                seed = torch.randint(2**31, (), generator=stream.generators[place // self.each])
                observations[place], steps[place] = self.envs.reset(int(place), int(seed)), 0
        return torch.cat(kept, 1)[:, : self.count]
