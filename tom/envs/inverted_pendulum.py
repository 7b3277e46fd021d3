"""InvertedPendulum-v4: keep a pole upright, 1 per step (gymnasium 1.4.0, inverted_pendulum_v4.py). Not in the paper."""

from torch import Tensor

from tom.envs.spec import EnvSpec, RewardTerms


def terminated(next_obs: Tensor) -> Tensor:
    """Healthy needs |angle| <= 0.2 rad and no NaN or infinity."""
    return ~(next_obs.isfinite().all(-1) & (next_obs[..., 1].abs() <= 0.2))


SPEC = EnvSpec(
    id="InvertedPendulum-v4",
    observation_dim=4,
    action_dim=1,
    observation="qpos, qvel",
    reward=RewardTerms(forward_weight=0.0, healthy_bonus=1.0, control_cost=0.0),
    terminated=terminated,
)
