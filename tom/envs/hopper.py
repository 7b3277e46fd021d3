"""Hopper-v4: hop forward without falling (gymnasium 1.4.0, hopper_v4.py)."""

from torch import Tensor

from tom.envs.spec import EnvSpec, RewardTerms


def terminated(next_obs: Tensor) -> Tensor:
    """Healthy needs height > 0.7 m, |angle| < 0.2 rad and every other entry within +-100; NaN and infinity are falls.

    Observed velocities are clipped to +-10, so a velocity beyond +-100 ends the episode in the simulator alone.
    """
    height, angle, others = next_obs[..., 0], next_obs[..., 1], next_obs[..., 1:]
    healthy = (height > 0.7) & height.isfinite() & (angle.abs() < 0.2) & (others.abs() < 100.0).all(-1)
    return ~healthy


SPEC = EnvSpec(
    id="Hopper-v4",
    observation_dim=11,
    action_dim=3,
    observation="qpos[1:], qvel clipped to +-10",
    reward=RewardTerms(forward_weight=1.0, healthy_bonus=1.0, control_cost=1e-3),
    terminated=terminated,
)
