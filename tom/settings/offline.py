"""Settings of the offline agent: what the data are, how long it learns from them."""

from dataclasses import dataclass

from tom.settings.fields import number


@dataclass
class Settings:
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
