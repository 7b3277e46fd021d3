"""Settings of PDML (Wang et al., 2023)."""

from dataclasses import dataclass

from tom.settings.fields import choice, number, part


@dataclass
class Settings:
    """Data of earlier policies count the more, the closer these are to the current one."""

    rows_of_policy = True  # the newest rows stand for the policy

    name: str = part("pdml", origin="PDML")
    states: int = number(
        5_000, low=1, unit="rows per round", origin="ours", help="stored states on which policies are compared"
    )
    min_rows: int = number(
        6_000, low=1, unit="rows", origin="PDML", help="weights are uniform while the buffer holds fewer"
    )
    max_rate: float = number(
        0.02, low=0.0, high=0.99, unit="share of all policies", origin="PDML", help="least share of the newest rows"
    )
    warmup_share: float = number(
        0.05, low=0.0, high=1.0, unit="of the oldest policy", origin="PDML", help="weight of a warm-up row"
    )
    rollout_starts: str = choice(
        "uniform",
        ("uniform", "weighted"),
        origin="PDML",
        help="rows that model rollouts start from: every one alike, or by weight",
    )
