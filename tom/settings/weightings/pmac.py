"""Settings of PMAC's decay (Wang et al., 2022, workshop version of PDML)."""

from dataclasses import dataclass

from tom.settings.fields import choice, number, part


@dataclass
class Settings:
    """A policy's share of the data decays with every policy that follows it."""

    name: str = part("pmac", origin="PMAC")
    decay: float = number(
        0.9, low=0.0, high=0.9999, unit="per policy", origin="official code", help="factor on all older shares"
    )
    decay_every: str = choice(
        "round",
        ("round", "burst"),
        origin="PMAC",
        help="what counts as a policy: that of a model round, or (TOM's code) that of a burst of SAC updates",
    )
    rollout_starts: str = choice(
        "uniform",
        ("uniform", "weighted"),
        origin="ours",
        help="rows that model rollouts start from: every one alike, or (TOM's code) by weight",
    )
