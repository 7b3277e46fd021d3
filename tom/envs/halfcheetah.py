"""HalfCheetah-v4: run forward; episodes end by the time limit alone (gymnasium 1.4.0, half_cheetah_v4.py)."""

from tom.envs.spec import EnvSpec, RewardTerms, never

SPEC = EnvSpec(
    id="HalfCheetah-v4",
    observation_dim=17,
    action_dim=6,
    observation="qpos[1:], qvel",
    reward=RewardTerms(forward_weight=1.0, healthy_bonus=0.0, control_cost=0.1),
    terminated=never,
)
