"""Settings of the world of Figure 2: the paper prints its picture, not its numbers, so they are ours.

The geometry is read off the picture: tom/envs/road_and_rocks.py.
"""

from dataclasses import dataclass

from tom.settings.fields import number


@dataclass
class Settings:
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
