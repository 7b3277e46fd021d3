"""Humanoid-v4 with short observations and the contact cost of -v2.

Sources: gymnasium 1.4.0, humanoid_v4.py, whose own contact cost is always 0 (Gymnasium issue 1041);
jannerm/mbpo@e39fae3, mbpo/env/humanoid.py.
"""

import numpy as np
from torch import Tensor

from tom.envs.spec import EnvSpec, RewardTerms


def terminated(next_obs: Tensor) -> Tensor:
    """Healthy needs 1 m < torso height < 2 m; NaN in the height is a fall, elsewhere it is not."""
    height = next_obs[..., 0]
    return ~((height > 1.0) & (height < 2.0))


def contact_cost(forces: np.ndarray) -> float:
    """5e-7 * sum of squares of the forces, at most 10."""
    return float(min(5e-7 * np.square(forces).sum(), 10.0))


SPEC = EnvSpec(
    id="Humanoid-v4",
    observation_dim=45,
    action_dim=17,
    observation="qpos[2:], qvel",
    reward=RewardTerms(
        forward_weight=1.25,  # velocity of the centre of mass
        healthy_bonus=5.0,
        control_cost=0.1 * 0.4**2,  # the torque's range is +-0.4
    ),
    terminated=terminated,
    contact_cost=contact_cost,
)
