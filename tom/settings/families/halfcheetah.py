"""Settings of the half-cheetahs: how far apart their bodies, joints and ground are."""

from dataclasses import dataclass

from tom.settings.fields import number, part


@dataclass
class Settings:
    """Mass and inertia of each body times one 1.5^U(-spread, spread), friction likewise, damping with 1.3."""

    name: str = part("halfcheetah", origin="PACOH-RL")
    spread: float = number(
        1.0,
        low=0.01,
        high=3.0,
        unit="powers of 1.5",
        origin="ours",
        help="how far a task lies from the standard one at most; released: 3",
    )
