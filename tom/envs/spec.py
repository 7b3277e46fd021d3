"""What an agent must know of an environment besides stepping it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class EnvSpec:
    """One environment: its gymnasium id, sizes, reward terms and termination rule.

    `observation` says which parts of MuJoCo's state the observation holds. The reward of a step is
    forward_weight * forward velocity + healthy_bonus - control_cost * |action|^2, also on the step that falls.
    """

    id: str
    observation_dim: int
    action_dim: int
    observation: str
    forward_weight: float
    healthy_bonus: float
    control_cost: float
    terminated: Callable[[Tensor], Tensor]  # next observations [..., O] -> bool [...]

    def reward(self, forward_velocity: Tensor, action: Tensor) -> Tensor:
        """Reward of a step [...], from the mean forward velocity over it (m/s) and the action [..., A]."""
        cost = self.control_cost * action.square().sum(-1)
        return self.forward_weight * forward_velocity + self.healthy_bonus - cost


def never(next_obs: Tensor) -> Tensor:
    """No observation is terminal, not even one with NaN in it."""
    return torch.zeros(next_obs.shape[:-1], dtype=torch.bool, device=next_obs.device)
