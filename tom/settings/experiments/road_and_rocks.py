"""Settings of Road-and-Rocks (Figure 2): its world, and what is learned there; `road` in params.yaml has both.

The paper prints a picture of the world, not its numbers, so they are ours; tom/envs/road_and_rocks.py reads the
geometry off the picture.
"""

from dataclasses import dataclass

from tom.settings.fields import number


@dataclass
class World:
    """The map is [-1, 1]^2; one action, in [-1, 1]^2, is one environment step."""

    strength: float = number(
        1.0, low=0.0, high=4.0, unit="half turns", origin="ours", help="rocks turn an action by 0 to so much"
    )
    waves: int = number(
        2, low=1, high=50, unit="per map side", origin="ours", help="how often that angle rises and falls"
    )
    step: float = number(
        0.05,
        low=1e-3,
        high=0.5,
        unit="map units per env step",
        origin="ours",
        help="how far an action of length 1 goes",
    )
    goal_radius: float = number(0.25, low=0.01, high=0.5, unit="map units", origin="ours", help="this near is home")
    goal_bonus: float = number(
        20.0,
        low=0.0,
        high=1e4,
        unit="return",
        origin="ours",
        help="for arriving: driving home returns 11, as in Fig. 2",
    )
    horizon_env_steps: int = number(
        190, low=1, high=100_000, unit="env steps", origin="ours", help="standing still returns -190, as in Fig. 2"
    )


@dataclass
class Offline:
    """A fixed dataset, and rounds of weighing it, refitting the model and improving the policy inside the model."""

    random_transitions: int = number(
        10_000, low=0, high=10_000_000, unit="rows", origin="ours", help="uniform states, uniform actions"
    )
    experts: int = number(
        5,
        low=1,
        high=1_000,
        unit="trajectories",
        origin="ours",
        help="the newest is the footprint of the policy of interest",
    )
    expert_transitions: int = number(
        20, low=2, high=100_000, unit="rows per expert", origin="ours", help="one drive home; who is home starts again"
    )
    expert_noise: float = number(
        0.3, low=0.0, high=10.0, unit="std per action dimension", origin="ours", help="how the experts differ"
    )
    rounds: int = number(
        9, low=1, high=10_000, unit="rounds", origin="ours", help="Fig. 2 has ten points, the first untrained"
    )
    updates_per_round: int = number(
        300,
        low=1,
        high=1_000_000,
        unit="SAC updates",
        origin="ours",
        help="enough to learn to drive home without rocks",
    )
    test_rows: int = number(
        2_000, low=1, high=10_000_000, unit="rows", origin="ours", help="fresh transitions for the one-step error"
    )
