"""The step into the replay: the episodes that replicas are in the middle of."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tom.core.replay import Replay, rows_of
from tom.core.streams import Stream
from tom.envs.simulator import Lockstep
from tom.envs.spec import EnvSpec
from tom.settings.train import Settings


def uniform_actions(stream: Stream, action_dim: int) -> Tensor:
    """One action per replica, every one in [-1, 1]^A equally likely: [R, A]."""
    return 2.0 * stream.uniform(action_dim) - 1.0


class Episodes:
    """One environment for each of R replicas; its transitions go into the replay, and so do the states it resets to."""

    def __init__(self, spec: EnvSpec, settings: Settings, replay: Replay, stream: Stream, threads: int = 1):
        """The stream seeds the episodes; environments are stepped in so many threads."""
        self.settings, self.replay, self.stream, self.replicas = settings, replay, stream, len(replay.data)
        self.envs = Lockstep(spec, self.replicas, threads)
        self.observations = torch.zeros(self.replicas, spec.observation_dim)  # the present ones, on the CPU
        self.seeds, self.steps = [0] * self.replicas, np.zeros(self.replicas, dtype=np.int64)
        for replica in range(self.replicas):
            self._reset(replica)

    def step(self, actions: Tensor, policy_round: int = 0) -> None:
        """One environment step of every replica by actions [R, A] in [-1, 1], on the CPU, stamped with the round.

        An episode that ends, or is cut after `episode_env_steps`, is followed by a new one.
        """
        stepped, rewards, terminated, truncated = self.envs.step(actions.numpy(), range(self.replicas))
        self.steps += 1
        truncated |= (self.steps >= self.settings.episode_env_steps) & ~terminated
        next_obs = torch.as_tensor(stepped, dtype=torch.float32)
        if self.settings.time_limits == "terminal":
            terminated |= truncated
        rows = rows_of(self.observations, actions, next_obs, rewards, terminated, truncated)
        self.replay.push(rows.to(self.replay.data.device, non_blocking=True), self.replay.env_steps, policy_round)
        self.observations = next_obs
        for replica in np.flatnonzero(terminated | truncated):
            self._reset(int(replica))

    def _reset(self, replica: int) -> None:
        seed = int(torch.randint(2**31, (), generator=self.stream.generators[replica]))
        self.seeds[replica], self.steps[replica] = seed, 0
        self.observations[replica] = torch.as_tensor(self.envs.reset(replica, seed), dtype=torch.float32)
        self.replay.push_reset(replica, self.observations[replica].to(self.replay.data.device, non_blocking=True))

    def state_dict(self) -> dict[str, Any]:
        """Where every episode is; the tensors are those in use."""
        places = {"episode_steps": torch.tensor(self.steps), "episode_seeds": torch.tensor(self.seeds)}
        return places | {"observations": self.observations}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Brings the environments to where `state_dict` was taken, by the actions that the replay holds.

        RuntimeError if the simulator does not repeat an episode.
        """
        self.steps, self.seeds = state["episode_steps"].numpy(), state["episode_seeds"].tolist()
        for replica, (seed, steps) in enumerate(zip(self.seeds, self.steps, strict=True)):
            actions = self.replay.actions_since(replica, int(steps)).cpu().numpy()
            observation = self.envs.replay(replica, seed, actions)
            self.observations[replica] = torch.as_tensor(observation, dtype=torch.float32)
        if not torch.equal(self.observations, state["observations"].cpu()):
            raise RuntimeError(
                "the simulator does not repeat the episode that was saved; nearest valid choice: resume=false"
            )
