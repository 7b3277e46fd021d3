"""Simulated worlds, a task each: environments in lockstep whose physics can be changed, and changed back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tom.core.streams import Stream
from tom.envs.simulator import Lockstep
from tom.envs.spec import EnvSpec

Apply = Callable[[Any, np.ndarray], None]  # an environment of gymnasium, a task's parameters [P]


class TaskLockstep(Lockstep):
    """Environments stepped side by side, each with the task it was given last."""

    def __init__(self, spec: EnvSpec, count: int, apply: Apply, threads: int = 1):
        super().__init__(spec, count, threads)
        self.apply, self.tasks = apply, dict[int, np.ndarray]()

    def set_task(self, index: int, parameters: np.ndarray) -> None:
        """Gives one environment a task; its episode is over, and `reset` or `replay` begins another."""
        self.tasks[index] = np.array(parameters, dtype=np.float64)
        self.apply(self.envs[index].unwrapped, self.tasks[index])

    def replay(self, index: int, seed: int, actions: np.ndarray) -> np.ndarray:
        """As in `Lockstep`, in the environment's task."""
        if index in self.tasks:
            self.set_task(index, self.tasks[index])
        return super().replay(index, seed, actions)


class SimulatedWorlds:
    """N environments with the parameters [N, P], as `Worlds`."""

    def __init__(self, spec: EnvSpec, apply: Apply, parameters: Tensor):
        self.lockstep = TaskLockstep(spec, len(parameters), apply)
        for index, task in enumerate(parameters.double().numpy()):
            self.lockstep.set_task(index, task)

    def reset(self, stream: Stream) -> Tensor:
        first = [self.lockstep.reset(index, seed) for index, (seed,) in enumerate(stream.seeds(1))]
        return torch.as_tensor(np.stack(first), dtype=torch.float32)

    def step(self, action: Tensor) -> tuple[Tensor, Tensor]:
        next_obs, rewards, _, _ = self.lockstep.step(action.numpy(), range(len(action)))
        return torch.as_tensor(next_obs, dtype=torch.float32), torch.as_tensor(rewards, dtype=torch.float32)
