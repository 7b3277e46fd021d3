"""Walker2d-v4: walk forward without falling (gymnasium 1.4.0, walker2d_v4.py)."""

from torch import Tensor

from tom.envs.spec import EnvSpec, RewardTerms


def terminated(next_obs: Tensor) -> Tensor:
    """Healthy needs 0.8 m < height < 2 m and |angle| < 1 rad; NaN in one of the two is a fall, elsewhere it is not."""
    height, angle = next_obs[..., 0], next_obs[..., 1]
    return ~((height > 0.8) & (height < 2.0) & (angle.abs() < 1.0))


SPEC = EnvSpec(
    id="Walker2d-v4",
    observation_dim=17,
    action_dim=6,
    observation="qpos[1:], qvel clipped to +-10",
    reward=RewardTerms(forward_weight=1.0, healthy_bonus=1.0, control_cost=1e-3),
    terminated=terminated,
)
