"""What an agent must know of an environment besides stepping it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class EnvSpec:
    """One environment: its gymnasium id, sizes, reward terms and termination rule.

    `observation` says which parts of MuJoCo's state the observation holds: the first `observation_dim` entries of
    what gymnasium's environment gives. The reward of a step, the last one of an episode included, is
    forward_weight * forward velocity + healthy_bonus - control_cost * |action|^2 - contact_cost(contact forces).
    """

    id: str
    observation_dim: int
    action_dim: int
    observation: str
    forward_weight: float
    healthy_bonus: float
    control_cost: float
    terminated: Callable[[Tensor], Tensor]  # next observations [..., O] -> bool [...]
    contact_cost: Callable[[np.ndarray], float] | None = None  # MuJoCo's cfrc_ext [bodies, 6] -> cost; None: no cost

    def reward(self, forward_velocity: Tensor, action: Tensor) -> Tensor:
        """Reward of a step [...] before contact cost, from its mean forward velocity (m/s) and action [..., A]."""
        control = self.control_cost * action.square().sum(-1)
        return self.forward_weight * forward_velocity + self.healthy_bonus - control


def never(next_obs: Tensor) -> Tensor:
    """No observation is terminal, not even one with NaN in it."""
    return torch.zeros(next_obs.shape[:-1], dtype=torch.bool, device=next_obs.device)
