"""Ant-v4 with the contact cost of -v2 (gymnasium 1.4.0, ant_v4.py; jannerm/mbpo@e39fae3, mbpo/env/ant.py)."""

import numpy as np
from torch import Tensor

from tom.envs.spec import EnvSpec, RewardTerms


def terminated(next_obs: Tensor) -> Tensor:
    """Healthy needs 0.2 m <= torso height <= 1 m and no NaN or infinity; of x and y the simulator alone can tell."""
    height = next_obs[..., 0]
    return ~(next_obs.isfinite().all(-1) & (height >= 0.2) & (height <= 1.0))


def contact_cost(forces: np.ndarray) -> float:
    """5e-4 * sum of squares of the forces, each clipped to +-1."""
    return float(5e-4 * np.square(np.clip(forces, -1.0, 1.0)).sum())


SPEC = EnvSpec(
    id="Ant-v4",
    observation_dim=27,
    action_dim=8,
    observation="qpos[2:], qvel",
    reward=RewardTerms(
        forward_weight=1.0,  # velocity of the torso
        healthy_bonus=1.0,
        control_cost=0.5,
    ),
    terminated=terminated,
    contact_cost=contact_cost,
)
