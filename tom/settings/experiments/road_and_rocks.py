"""Settings of Road-and-Rocks (Figure 2): its world, and what is learned there; `road` in params.yaml has both.

The paper prints a picture of the world, not its numbers, so they are ours; tom/envs/road_and_rocks.py reads the
geometry off the picture.
"""

from collections.abc import Iterator
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
    far_pay: float = number(
        0.0,
        low=0.0,
        high=1e4,
        unit="return per env step",
        origin="ours",
        help="for each step beyond a gorge that crosses the map from left to right; 0: there is no gorge",
        neutral=0.0,
    )
    gorge_from: float = number(
        0.4, low=0.3, high=0.8, unit="map units", origin="ours", help="y where the gorge begins", neutral=0.4
    )
    gorge_until: float = number(
        0.7, low=0.3, high=0.8, unit="map units", origin="ours", help="y where it ends: no step crosses it", neutral=0.7
    )
    fall_cost: float = number(
        10.0, low=0.0, high=1e4, unit="return", origin="ours", help="of falling into it, which ends", neutral=10.0
    )

    def contradictions(self) -> Iterator[str]:
        least = self.gorge_from + 2.0 * self.step
        if self.far_pay > 0.0 and self.gorge_until < least:
            yield (
                f"gorge_until={self.gorge_until} is so near to gorge_from={self.gorge_from} that a step of {self.step} "
                f"may cross the gorge; nearest valid value: {least:.3g}"
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
    campers: int = number(
        0,
        low=0,
        high=1_000,
        unit="trajectories",
        origin="ours",
        help="of somebody who was set down beyond the gorge and wanders there, each as long as an expert's",
        neutral=0,
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
