"""What an agent must know of an environment besides stepping it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tom.settings.fields import SettingsError


@dataclass(frozen=True)
class RewardTerms:
    """forward_weight * forward velocity + healthy_bonus - control_cost * |action|^2, the last step of an episode too.

    What is known, not what is used: agents learn the reward. Tests compare it with the simulator's.
    """

    forward_weight: float
    healthy_bonus: float
    control_cost: float

    def __call__(self, forward_velocity: Tensor, action: Tensor) -> Tensor:
        """Reward of a step [...] before contact cost, from its mean forward velocity (m/s) and action [..., A]."""
        control = self.control_cost * action.square().sum(-1)
        return self.forward_weight * forward_velocity + self.healthy_bonus - control


def never(next_obs: Tensor) -> Tensor:
    """No observation is terminal, not even one with NaN in it."""
    return torch.zeros(next_obs.shape[:-1], dtype=torch.bool, device=next_obs.device)


def unknown(next_obs: Tensor) -> Tensor:
    """The rule of an environment of which the simulator alone can tell: SettingsError."""
    raise SettingsError(
        "no rule says which next observations are terminal, and imagined steps need one; nearest valid choice: a "
        "method without a model, method=sac"
    )


@dataclass(frozen=True)
class EnvSpec:
    """One environment: its gymnasium id, sizes and termination rule.

    `observation` says which parts of MuJoCo's state the observation holds: the first `observation_dim` entries of
    what gymnasium's environment gives, laid out flat. Without it the observation is all that there is.
    """

    id: str
    observation_dim: int
    action_dim: int
    observation: str = ""
    terminated: Callable[[Tensor], Tensor] = unknown  # next observations [..., O] -> bool [...]
    reward: RewardTerms | None = None  # None: not known, which no method minds
    contact_cost: Callable[[np.ndarray], float] | None = None  # MuJoCo's cfrc_ext [bodies, 6] -> cost; None: no cost
    max_episode_steps: int | None = None  # where an episode is cut; None: where gymnasium says
